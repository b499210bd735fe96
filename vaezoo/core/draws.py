"""Batch and Draws: the latents and the log-densities of one pass through the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaezoo.core import noise

if TYPE_CHECKING:
    from vaezoo.core.contracts import Latents, PosteriorDistribution
    from vaezoo.core.model import LatentModel


@dataclass
class Batch:
    """Images as the parts get them.

    x: [B, *shape]. context: [B, C], or None for a model that is not conditional. index: each one's number in its split,
    int64 [B] or None; noise is keyed by it. progress: how far training has come, a scalar in 0..1, or None outside
    training.
    """

    x: Tensor
    context: Tensor | None = None
    index: Tensor | None = None
    progress: Tensor | None = None

    @property
    def training_index(self) -> Tensor:
        """Which training image each one is: `index` in training, -1 outside it. int64 [B]"""
        if self.index is not None and self.progress is not None:
            return self.index
        return torch.full(self.x.shape[:1], -1, dtype=torch.int64, device=self.x.device)

    @property
    def training_progress(self) -> Tensor:
        """`progress`, and 1 outside training. A scalar."""
        return self.x.new_ones(()) if self.progress is None else self.progress


@dataclass
class Draws:
    """K samples z ~ q(z|x) of B images, and the terms of the bounds, in nats. Each term is computed when it is first
    read.

    kl_weight: the weight of the KL term at this training step (a schedule's device tensor), 1 after any warm-up. Only
    objectives read it. decoded: how many samples are decoded at once, or None for all of them.
    """

    model: LatentModel
    batch: Batch
    q: PosteriorDistribution
    z: Latents
    log_posterior: Tensor
    kl_weight: Tensor = field(default_factory=lambda: torch.ones(()))
    decoded: int | None = None

    @property
    def progress(self) -> Tensor:
        """How far training has come, a scalar in 0..1; 1 outside training."""
        return self.batch.training_progress

    @cached_property
    def log_likelihood(self) -> Tensor:
        """log p(x|z). [K, B]"""
        stream, samples = noise.source().stream, len(self.z[0])
        if stream is None or self.decoded is None or self.decoded >= samples:
            return self.model.log_likelihood(self.batch, self.z)
        first, calls, values = stream.first, stream.calls, []
        for skipped in range(0, samples, self.decoded):
            stream.first, stream.calls = first + skipped, calls  # what the decoder draws is keyed by the sample
            z = tuple(group[skipped : skipped + self.decoded] for group in self.z)
            values.append(self.model.log_likelihood(self.batch, z))
        stream.first = first
        return torch.cat(values)

    @cached_property
    def log_prior(self) -> Tensor:
        """log p(z) of each latent group. [L, K, B]"""
        return self.model.log_prior(self.batch, self.z)

    @cached_property
    def log_posterior_stopped(self) -> Tensor:
        """log q(z|x) whose weights are cut from the graph: its gradient is the one through z alone. [L, K, B]

        Equals `log_posterior` in value. Raises Skip where q can score only its own samples. Roeder et al. (2017),
        arXiv:1703.09194; Tucker et al. (2019), arXiv:1810.04152.
        """
        return self.model.log_posterior(self.batch, self.z, stopped=True)

    @cached_property
    def kl(self) -> tuple[Tensor, ...] | None:
        """KL(q(z|x) || p(z)) in closed form, [B, Z_l] for each group, or None where there is none."""
        return self.model.kl(self.batch, self.q, self.z)

    @property
    def kl_estimate(self) -> Tensor:
        """KL(q(z|x) || p(z)) of each image: its closed form, or else the mean of log q - log p over the samples. [B]"""
        if self.kl is not None:
            return torch.stack([group.sum(-1) for group in self.kl]).sum(0) if len(self.kl) > 1 else self.kl[0].sum(-1)
        return (self.log_posterior - self.log_prior).sum(0).mean(0)

    @cached_property
    def log_weight(self) -> Tensor:
        """log w_k = log p(x|z_k) + log p(z_k) - log q(z_k|x). [K, B]"""
        return self.log_likelihood + (self.log_prior - self.log_posterior).sum(0)
