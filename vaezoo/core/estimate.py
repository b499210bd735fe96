"""The one estimator of log p(x): importance sampling, streamed over blocks of images and samples."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel

IMAGES_A_BLOCK = 100
CPU_BLOCK = 2**19
"""Numbers in a block's decoder output: 2 MB of float32, which stays in a core's cache."""
GPU_BLOCK = 2**27


@dataclass(frozen=True)
class Estimate:
    """What K importance samples say of each image, in nats. All [N], on the CPU, float64.

    estimate: log (1/K) sum_k w_k, a lower bound of log p(x) in expectation. standard_error: its Monte-Carlo standard
    error (delta method). effective_samples: (sum w)^2 / sum w^2, between 1 and K. elbo: mean log w_k. reconstruction:
    mean log p(x|z_k).
    """

    estimate: Tensor
    standard_error: Tensor
    effective_samples: Tensor
    elbo: Tensor
    reconstruction: Tensor
    importance_samples: int

    @property
    def kl(self) -> Tensor:
        """E_q[log q(z|x) - log p(z)], which is reconstruction - elbo. [N]"""
        return self.reconstruction - self.elbo


class _Running:
    """Sums over the samples of B images: log-sum-exp about a running maximum, in float64."""

    def __init__(self, images: int, device: torch.device):
        self.maximum = torch.full((images,), -math.inf, dtype=torch.float64, device=device)
        self.sums = torch.zeros(4, images, dtype=torch.float64, device=device)  # w, w^2, log w, log p(x|z)

    def add(self, draws: Draws) -> None:
        """Take in one block of samples."""
        log_weight = draws.log_weight.double()
        maximum = torch.maximum(self.maximum, log_weight.amax(0))
        centre = torch.where(maximum.isfinite(), maximum, 0.0)
        shrink = torch.where(self.maximum.isfinite(), (self.maximum - centre).exp(), 0.0)
        weight = (log_weight - centre).exp()
        self.sums[0] = self.sums[0] * shrink + weight.sum(0)
        self.sums[1] = self.sums[1] * shrink.square() + weight.square().sum(0)
        self.sums[2] += log_weight.sum(0)
        self.sums[3] += draws.log_likelihood.double().sum(0)
        self.maximum = maximum

    def values(self, samples: int) -> Tensor:
        """[5, B]: estimate, standard error, effective samples, elbo, reconstruction."""
        total, squares, log_weight, log_likelihood = self.sums
        effective = total.square() / squares
        spread = (1 / effective - 1 / samples).clamp(min=0) * samples / max(samples - 1, 1)
        error = spread.sqrt() if samples > 1 else torch.full_like(spread, math.nan)
        estimate = self.maximum + total.log() - math.log(samples)
        return torch.stack([estimate, error, effective, log_weight / samples, log_likelihood / samples])


@contextmanager
def evaluating(model: LatentModel) -> Iterator[None]:
    """Eval mode and no gradients (not inference mode, which functional gradients inside a pass would not survive)."""
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was)


def samples_a_block(model: LatentModel, images: int) -> int:
    """How many samples of so many images make one block: sized to the cache on a CPU, to the memory on a GPU."""
    budget = CPU_BLOCK if model.device.type == "cpu" else GPU_BLOCK
    return max(1, budget // (images * math.prod(model.likelihood.parameter_shape)))


def log_likelihood(
    model: LatentModel,
    x: Tensor,
    importance_samples: int = 5000,
    seed: int = 0,
    context: Tensor | None = None,
    index: Tensor | None = None,
) -> Estimate:
    """Importance-weighted log-likelihood log (1/K) sum_k w_k of each image, in nats, with exactly K samples of each.

    x: [N, *shape], as stored or as floats. index: [N], the images' numbers in their split (0..N-1 when left out): the
    noise is keyed by (seed, image, sample), so neither the block size nor the order of the images changes a value
    beyond rounding. The encoder runs once an image. At K = 1 it equals the ELBO's single-sample estimate. Burda et al.
    (2016), arXiv:1509.00519.

    Raises VaezooError for x of another shape or K under 1.
    """
    if importance_samples < 1:
        raise VaezooError(f"importance_samples must be 1 or more, got {importance_samples}")
    if index is None:
        index = torch.arange(x.shape[0])
    values = []
    with evaluating(model):
        for rows in torch.arange(x.shape[0]).split(IMAGES_A_BLOCK if model.device.type == "cpu" else 1000):
            chosen = None if context is None else context[rows].to(model.device)
            values.append(_block(model, x[rows], chosen, index[rows].to(model.device), importance_samples, seed).cpu())
    estimate, error, effective, elbo, reconstruction = torch.cat(values, 1)
    return Estimate(estimate, error, effective, elbo, reconstruction, importance_samples)


def _block(
    model: LatentModel, x: Tensor, context: Tensor | None, index: Tensor, importance_samples: int, seed: int
) -> Tensor:
    batch = model.batch(x, context, index)
    with noise.stream(noise.derive(seed, "posterior"), index=index, dtype=model.dtype):
        q = model.posterior(batch)
    running = _Running(x.shape[0], model.device)
    size = samples_a_block(model, x.shape[0])
    for first in range(0, importance_samples, size):
        with noise.stream(noise.derive(seed, "samples"), index=index, first=first, dtype=model.dtype):
            running.add(model.draw_from(q, batch, min(size, importance_samples - first)))
    return running.values(importance_samples)
