"""The mathematics of count likelihoods: rates with a library size, and the negative binomial distribution."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError


def checked_column(spec: DataSpec, column: int) -> int:
    """The column of the context that holds the logarithm of the library size. VaezooError where there is none such."""
    columns = spec.context
    if column < 0 or (columns is not None and column >= columns):
        last = "" if columns is None else f", which is one of 0..{columns - 1} here"
        raise VaezooError(
            f"library_column is the context's column with the log of the library size{last}, got {column}"
        )
    return column


def with_library(log_rate: Tensor, context: Tensor | None, column: int, axes: int) -> Tensor:
    """log_rate + log(library size / D), the offset of a count regression on images of D pixels.

    [..., B, *shape], [B, C] -> [..., B, *shape]. So a decoder that gives 0 shares the library size evenly among the
    pixels. context: None for no offset. axes: those of `shape`.
    """
    if context is None:
        return log_rate
    pixels = math.prod(log_rate.shape[log_rate.ndim - axes :])
    return log_rate + (context[:, column] - math.log(pixels)).reshape(-1, *[1] * axes)


def negative_binomial_log_prob(x: Tensor, log_mean: Tensor, log_dispersion: Tensor) -> Tensor:
    """log NB(x; mean m, dispersion r) of each element, in nats; the variance is m + m^2 / r. Sums to 1 over 0, 1, ..

        log NB = lgamma(x + r) - lgamma(r) - lgamma(x + 1) + r log(r / (r + m)) + x log(m / (r + m))

    The terms without m are computed in float64, since differences of lgamma cancel, and before x meets the K samples.
    Equals Poisson(m) in the limit of large r. x, log_dispersion: what broadcasts to log_mean.
    """
    r, count = log_dispersion.double().exp(), x.double()
    constant = torch.lgamma(count + r) - torch.lgamma(r) - torch.lgamma(count + 1)
    ratio = log_mean - log_dispersion
    return constant.to(log_mean) - log_dispersion.exp() * F.softplus(ratio) - x * F.softplus(-ratio)


def negative_binomial(mean: Tensor, dispersion: Tensor) -> Tensor:
    """NB(mean, dispersion) numbers: Poisson with a rate of mean times a gamma number of mean 1. [...] -> [...]

    dispersion: what broadcasts to the mean.
    """
    r = dispersion.double().expand(mean.shape)
    return noise.poisson(mean.double() * (noise.gamma(r) / r)).to(mean.dtype)
