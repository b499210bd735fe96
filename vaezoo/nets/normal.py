"""The logarithm of the normal distribution function."""

import math

import torch
from torch import Tensor
from torch.special import erfcx


def log_ndtr(x: Tensor) -> Tensor:
    """log F(x) of the standard normal distribution, exact far in the lower tail. [...] -> [...]

    log(erfcx(-x / sqrt 2) / 2) - x^2 / 2 below 0, and log(1 - F(-x)) above it. (torch.special.log_ndtr is mapped by
    `torch.func.vmap` with a loop.)
    """
    low = torch.where(x < 0, x, -x)
    lower = erfcx(low * -math.sqrt(0.5)).log() - 0.5 * low.square() - math.log(2)
    return torch.where(x < 0, lower, (-lower.exp()).log1p())
