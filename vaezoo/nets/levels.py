"""The discretised logistic distribution of gray levels k / (levels - 1)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise

START = -2.0
"""The log scale of a decoder that gives 0, nearly."""


def bounded_log_scale(raw: Tensor, least: float) -> Tensor:
    """log s = least + softplus(raw - 2 - least), above `least`. [...] -> [...]"""
    return least + F.softplus(raw + (START - least))


def level_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """log P of each element's level, in nats: the probability that a logistic variable falls into its bin. [...]

    P(k) = S((x + d/2 - m)/s) - S((x - d/2 - m)/s) with x = k/(levels-1), d = 1/(levels-1) and S the logistic function.
    The first bin reaches to -infinity and the last to +infinity, so the levels sum to 1. It is computed as
    log S(a) + log S(-b) + log(1 - e^(b-a)), which is exact far in the tails. Kingma et al. (2016), arXiv:1606.04934.
    """
    precision = (-log_scale).exp()
    half = 0.5 / (levels - 1)
    above = F.logsigmoid((x + half - mean) * precision)  # log S(a)
    below = F.logsigmoid((mean - x + half) * precision)  # log S(-b)
    width = 2 * half * precision  # of a bin, in scales; log(1 - e^-width) below does not underflow at any scale
    share = torch.where(width < 1e-3, 1 - width / 2, -torch.expm1(-width) / width.clamp(min=1e-3))
    inside = math.log(2 * half) - log_scale + share.log()
    first, last = x < half, x > 1 - half
    return torch.where(first, above, torch.where(last, below, above + below + inside))


def level_mean(mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """E[x], exact: the sum over k of P(at least k), divided by levels - 1. [...]"""
    precision, total = (-log_scale).exp(), torch.zeros_like(mean)
    for k in range(1, levels):  # E[k] is the sum of P(at least k)
        total = total + ((mean - (k - 0.5) / (levels - 1)) * precision).sigmoid()
    return total / (levels - 1)


def level_sample(mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """A logistic draw, rounded to the nearest level. [...]"""
    value = mean + log_scale.exp() * noise.uniform(*mean.shape).to(mean).logit()
    return (value * (levels - 1)).round().clamp(0, levels - 1) / (levels - 1)
