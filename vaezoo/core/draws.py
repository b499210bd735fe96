"""Batch and Draws: the latents and the log-densities of one pass through the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from vaezoo.core.contracts import Latents, PosteriorDistribution
    from vaezoo.core.model import LatentModel


@dataclass
class Batch:
    """Images as the parts get them.

    x: [B, *shape]. context: [B, C] or None. index: each image's number in its split, [B], or None.
    progress: how far training has come, a scalar in 0..1, or None outside training.
    """

    x: Tensor
    context: Tensor | None = None
    index: Tensor | None = None
    progress: Tensor | None = None


@dataclass
class Draws:
    """K samples z ~ q(z|x) of B images, and the terms of the bounds, in nats. Each term is computed when it is first
    read.

    kl_weight: the weight of the KL term at this training step (a schedule's device tensor), 1 after any warm-up. Only
    objectives read it.
    """

    model: LatentModel
    batch: Batch
    q: PosteriorDistribution
    z: Latents
    log_posterior: Tensor
    kl_weight: Tensor = field(default_factory=lambda: torch.ones(()))

    @property
    def progress(self) -> Tensor:
        """How far training has come, a scalar in 0..1; 1 outside training."""
        return self.batch.x.new_ones(()) if self.batch.progress is None else self.batch.progress

    @cached_property
    def log_likelihood(self) -> Tensor:
        """log p(x|z). [K, B]"""
        return self.model.log_likelihood(self.batch, self.z)

    @cached_property
    def log_prior(self) -> Tensor:
        """log p(z) of each latent group. [L, K, B]"""
        return self.model.log_prior(self.batch, self.z)

    @cached_property
    def kl(self) -> Tensor | None:
        """KL(q(z|x) || p(z)) in closed form, [L, B, Z], or None where there is none."""
        return self.model.kl(self.batch, self.q)

    @property
    def kl_estimate(self) -> Tensor:
        """KL(q(z|x) || p(z)) of each image: its closed form, or else the mean of log q - log p over the samples. [B]"""
        if self.kl is not None:
            return self.kl.sum((0, 2))
        return (self.log_posterior - self.log_prior).sum(0).mean(0)

    @cached_property
    def log_weight(self) -> Tensor:
        """log w_k = log p(x|z_k) + log p(z_k) - log q(z_k|x). [K, B]"""
        return self.log_likelihood + (self.log_prior - self.log_posterior).sum(0)
