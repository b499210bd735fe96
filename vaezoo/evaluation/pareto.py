"""Pareto k-hat: whether importance weights have a tail so heavy that their mean cannot be trusted.

Vehtari, Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling, arXiv:1507.02646.
"""

import math

import torch
from torch import Tensor

RELIABLE = 0.7
"""Up to this k-hat a mean of weights and its standard error can be trusted; above it the paper advises against both."""
FEWEST = 225
"""With fewer weights, 3 sqrt(K) are more than a fifth of them and no tail, and k-hat is a matter of chance."""
FLAT = 1e-3
"""Nats. Where the tail's weights differ by no more, rounding may be all that makes them differ."""
FEWEST_ABOVE = 5
"""Fewer weights above the tail's threshold have no shape."""
SPREAD, WEIGHT, CENTRE = 3.0, 10.0, 0.5
"""Zhang and Stephens' scale of the prior of b; how many weights the paper's prior of k counts for, and its mean."""
ELEMENTS = 2**20
"""How many logarithms are taken at once (8 MB, which fit a cache)."""


def tail_size(samples: int) -> int:
    """3 sqrt(K), rounded up: how many of the largest of K weights are the tail. 0 for K below FEWEST."""
    return math.ceil(3 * math.sqrt(samples)) if samples >= FEWEST else 0


def largest(log_weight: Tensor, count: int) -> Tensor:
    """The `count` largest log weights of each image, in no order; all where there are fewer. NaN counts as the largest.

    [K, B] -> [min(K, count), B]
    """
    return log_weight if len(log_weight) <= count else log_weight.topk(count, 0, sorted=False).values


def pareto_k(tail: Tensor) -> Tensor:
    """k-hat of the M + 1 largest log weights of each image, the smallest of which is the threshold. [M + 1, B] -> [B]

    The generalised Pareto distribution is fitted to the excess of the M weights over the threshold. The factor by which
    all weights of an image are too large does not matter. 1 / k is the number of finite moments: above 0.5 the weights
    have no variance, above 1 no mean. The fit is that of Zhang and Stephens (2009) with the weak prior of Vehtari et
    al., which draws k-hat towards 0.5 as 10 further weights would: its bias is (0.5 - k) 10 / (M + 10).

    -inf where the tail is flat (all within FLAT nats, as with an exact posterior). Weights equal to the threshold are
    left out. Where fewer than FEWEST_ABOVE remain, -inf if those hold less than half of the tail's weight, else inf.
    inf where no weight is positive. NaN where a weight is NaN or infinite, or where M is 0.
    """
    if len(tail) < 2:
        return torch.full(tail.shape[1:], math.nan, dtype=torch.float64, device=tail.device)
    tail = tail.double().sort(0).values
    images = max(1, ELEMENTS // (len(tail) * _candidates(len(tail))))
    return torch.cat([_pareto_k(some) for some in tail.split(images, 1)])


def _pareto_k(tail: Tensor) -> Tensor:
    """`pareto_k` of ascending log weights in float64."""
    threshold, highest = tail[0], tail[-1]
    above = tail > threshold
    count = above.sum(0)
    weight = (tail - highest).exp()
    # w - u relative to the largest weight, positive wherever w > u although it may be too small for a float
    excess = (weight * -torch.expm1(threshold - tail)).clamp(min=1e-300)
    fitted = _fit(torch.where(above, excess, 0.0), count.clamp(min=1))
    few = torch.where((weight * above).sum(0) < 0.5 * weight.sum(0), -math.inf, math.inf)
    found = torch.where(count < FEWEST_ABOVE, few, fitted)
    found = torch.where(highest - threshold <= FLAT, -math.inf, found)
    found = torch.where(highest == -math.inf, math.inf, found)
    return torch.where(highest.isnan() | (highest == math.inf), math.nan, found)


def _candidates(count: int) -> int:
    """How many values of b the fit takes a mean over."""
    return 30 + math.isqrt(count)


def _fit(excess: Tensor, count: Tensor) -> Tensor:
    """k of the generalised Pareto distribution, at the mean of b = -k / scale under its profile likelihood.

    excess: ascending [M + 1, B], 1 at most, of which the last `count` [B] are the sample and the others 0.
    """
    grid = _candidates(len(excess))
    rank = torch.arange(1, grid + 1, dtype=torch.float64, device=excess.device)[:, None]
    quartile = excess.gather(0, (len(excess) - count + (count / 4 + 0.5).long() - 1).clamp(min=0)[None])
    b = 1 / excess[-1] + (1 - (grid / (rank - 0.5)).sqrt()) / (SPREAD * quartile)  # [grid, B]
    b = torch.where(b == 0, 1e-9, b)  # where k is 0, and -b / k its limit
    k = _mean_log(b, excess, count)
    log_profile = count * ((-b / k).log() - k - 1)
    mean = (log_profile.softmax(0) * b).sum(0, keepdim=True)
    found = _mean_log(mean, excess, count)[0]
    return (count * found + WEIGHT * CENTRE) / (count + WEIGHT)


def _mean_log(b: Tensor, excess: Tensor, count: Tensor) -> Tensor:
    """The mean of log(1 - b x) over the sample, for each b. [G, B]"""
    return torch.log1p(-b[:, None] * excess).sum(1) / count
