"""Terms that several objectives are made of, with the weight of the KL: Draws -> nats.

w is the weight of the KL at this training step (`draws.kl_weight`), 1 after any warm-up.
"""

import math

import torch
from torch import Tensor

from vaezoo.core.draws import Draws
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.gaussian import DiagonalGaussian


def weighted_elbo(draws: Draws) -> Tensor:
    """E_q[log p(x|z)] - w KL(q(z|x) || p(z)) of each image, with the KL in closed form where there is one. [B]"""
    return draws.log_likelihood.mean(0) - draws.kl_weight * draws.kl_estimate


def weighted_log_weight(draws: Draws) -> Tensor:
    """log w_k = log p(x|z_k) + w (log p(z_k) - log q(z_k|x)). [K, B]"""
    return draws.log_likelihood + draws.kl_weight * (draws.log_prior - draws.log_posterior).sum(0)


def mean_of_bounds(log_weight: Tensor, bounds: int) -> Tensor:
    """The mean of M importance-weighted bounds, each of K / M of the K samples. [K, B] -> [B]

    (1/M) sum_m log (M/K) sum_k w_mk: IWAE's bound at M = 1 and the ELBO's at M = K. Raises VaezooError where M does not
    divide K.
    """
    samples = log_weight.shape[0]
    if samples % bounds:
        raise VaezooError(f"{samples} samples cannot be divided among {bounds} bounds: give a multiple of {bounds}")
    inner = samples // bounds
    return torch.unflatten(log_weight, 0, (bounds, inner)).logsumexp(1).mean(0) - math.log(inner)


def samples_of_bounds(bounds: int, samples_per_bound: int) -> int:
    """M K, the samples that M bounds of K samples each need. Raises VaezooError where M or K is under 1."""
    if bounds < 1 or samples_per_bound < 1:
        raise VaezooError(f"bounds and samples_per_bound must be 1 or more, got {bounds} and {samples_per_bound}")
    return bounds * samples_per_bound


def weighted_at_fixed_samples(draws: Draws, objective: str) -> tuple[Tensor, Tensor]:
    """log q(z_k|x) and log w_k of the samples as fixed points, through which nothing has a gradient. [K, B], [K, B]

    log w_k is that of `weighted_log_weight`. Raises Skip where q can score only its own samples.
    """
    fixed = tuple(group.detach() for group in draws.z)
    log_q = draws.q.log_prob(fixed)
    if log_q is None:
        raise Skip(f"objective {objective!r} needs a posterior that scores given points: its q has no log_prob(z)")
    score = log_q.sum(0)
    model, batch = draws.model, draws.batch
    log_ratio = model.log_prior(batch, fixed).sum(0) - score
    return score, model.log_likelihood(batch, fixed) + draws.kl_weight * log_ratio


def gaussian_posterior(draws: Draws, objective: str) -> DiagonalGaussian:
    """q(z|x) as a diagonal Gaussian, mean and std [B, Z]. Raises Skip where it is none."""
    if (q := draws.q.gaussian) is None:
        raise Skip(
            f"objective {objective!r} needs a diagonal Gaussian q(z|x), and this posterior is none; use posterior "
            "'gaussian'"
        )
    return q
