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
HEAVIEST = 0.45
"""The largest k whose second moment is used: it grows without bound towards 0.5."""
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
    return fitted_tail(tail)[0]


def fitted_tail(tail: Tensor) -> tuple[Tensor, Tensor]:
    """`pareto_k`, and by how much the tail's sum of w^2 is larger under its fit than in the sample. [M + 1, B] -> [B]
    each

    The second is in units of the largest weight squared, and 0 where the sample's is the larger one or there is no fit.
    A sample has few of the weights that make up E[w^2], and most often too small ones. Where the fit has no second
    moment (k of 0.5 and above) it is that of k = HEAVIEST.
    """
    if len(tail) < 2:
        nothing = torch.zeros(tail.shape[1:], dtype=torch.float64, device=tail.device)
        return nothing + math.nan, nothing
    tail = tail.double().sort(0).values
    images = max(1, ELEMENTS // (len(tail) * _candidates(len(tail))))
    k, more = zip(*(_fitted_tail(some) for some in tail.split(images, 1)), strict=True)
    return torch.cat(k), torch.cat(more)


def _fitted_tail(tail: Tensor) -> tuple[Tensor, Tensor]:
    """`fitted_tail` of ascending log weights in float64."""
    threshold, highest = tail[0], tail[-1]
    above = tail > threshold
    count = above.sum(0)
    weight = (tail - highest).exp()
    # w - u relative to the largest weight, positive wherever w > u although it may be too small for a float
    excess = (weight * -torch.expm1(threshold - tail)).clamp(min=1e-300)
    k, scale = _fit(torch.where(above, excess, 0.0), count.clamp(min=1))
    finite = k.clamp(max=HEAVIEST)
    mean = scale / (1 - finite)
    square = 2 * scale * mean / (1 - 2 * finite)
    more = count * (weight[0].square() + 2 * weight[0] * mean + square) - (weight.square() * above).sum(0)

    unknown = highest.isnan() | highest.isinf()
    flat, shapeless = highest - threshold <= FLAT, count < FEWEST_ABOVE
    more = torch.where(unknown | flat | shapeless, 0.0, more.clamp(min=0))
    few = torch.where((weight * above).sum(0) < 0.5 * weight.sum(0), -math.inf, math.inf)
    k = torch.where(flat, -math.inf, torch.where(shapeless, few, k))
    return torch.where(unknown, torch.where(highest == -math.inf, math.inf, math.nan), k), more


def _candidates(count: int) -> int:
    """How many values of b the fit takes a mean over."""
    return 30 + math.isqrt(count)


def _fit(excess: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """k and scale of the generalised Pareto distribution, at the mean of b = -k / scale under its profile likelihood.

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
    return (count * found + WEIGHT * CENTRE) / (count + WEIGHT), -found / mean[0]


def _mean_log(b: Tensor, excess: Tensor, count: Tensor) -> Tensor:
    """The mean of log(1 - b x) over the sample, for each b. [G, B]"""
    return torch.log1p(-b[:, None] * excess).sum(1) / count
