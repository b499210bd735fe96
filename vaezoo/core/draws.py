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
    """x [B, *shape] as the parts see it; context [B, C] or None; index [B], which image of its split each one is."""

    x: Tensor
    context: Tensor | None = None
    index: Tensor | None = None


@dataclass
class Draws:
    """K samples z ~ q(z|x) of B images, and the terms of the bounds, in nats. What is not asked for is not computed.

    kl_weight: the weight of the KL term in training at this step (a schedule's device tensor), 1 after any warm-up.
    Only objectives read it.
    """

    model: LatentModel
    batch: Batch
    q: PosteriorDistribution
    z: Latents
    log_posterior: Tensor
    kl_weight: Tensor = field(default_factory=lambda: torch.ones(()))

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
        """KL(q(z|x) || p(z)) in closed form, [L, B, Z], or None."""
        return self.model.kl(self.batch, self.q)

    @property
    def kl_estimate(self) -> Tensor:
        """KL(q(z|x) || p(z)) of each image: in closed form where there is one, else the mean of log q - log p over the
        samples. [B]
        """
        if self.kl is not None:
            return self.kl.sum((0, 2))
        return (self.log_posterior - self.log_prior).sum(0).mean(0)

    @cached_property
    def log_weight(self) -> Tensor:
        """log w_k = log p(x|z_k) + log p(z_k) - log q(z_k|x). [K, B]"""
        return self.log_likelihood + (self.log_prior - self.log_posterior).sum(0)
