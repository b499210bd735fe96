"""The discretised logistic likelihood."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError
from vaezoo.registry import register


@register.likelihood("discretized-logistic", paper="Kingma et al. (2016), arXiv:1606.04934")
class DiscretizedLogistic(Likelihood):
    """The probability that a logistic variable with the decoder's mean and scale falls into the bin of a pixel's level.

    P(k) = S((x + d/2 - m)/s) - S((x - d/2 - m)/s) with x = k/(levels-1), d = 1/(levels-1) and S the logistic function.
    The first bin reaches to -infinity and the last to +infinity, so the levels sum to 1. It is computed as
    log S(a) + log S(-b) + log(1 - e^(b-a)), which is exact far in the tails. The parameters are [2, *shape]: the offset
    of the mean m from 1/2, and r with log s = min_log_scale + softplus(r - 2 - min_log_scale).
    """

    measures = ("discrete",)

    def __init__(self, spec: DataSpec, *, min_log_scale: float = -7.0):
        super().__init__()
        if spec.levels is None or spec.levels < 2:
            raise VaezooError(f"discretized-logistic needs images of 2 or more levels, got levels={spec.levels}")
        self.levels, self.min_log_scale = spec.levels, min_log_scale
        self.parameter_shape = (2, *spec.shape)

    def _mean_and_log_scale(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        axis = parameters.ndim - len(self.parameter_shape)
        mean, raw = parameters.unbind(axis)
        start = -2.0 - self.min_log_scale  # at raw = 0 the scale is about e^-2
        return mean + 0.5, self.min_log_scale + F.softplus(raw + start)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log P(x|z) summed over pixels, in nats."""
        mean, log_scale = self._mean_and_log_scale(parameters)
        precision = (-log_scale).exp()
        half = 0.5 / (self.levels - 1)
        above = F.logsigmoid((x + half - mean) * precision)  # log S(a)
        below = F.logsigmoid((mean - x + half) * precision)  # log S(-b)
        width = 2 * half * precision  # of a bin, in scales; log(1 - e^-width) below does not underflow at any scale
        share = torch.where(width < 1e-3, 1 - width / 2, -torch.expm1(-width) / width.clamp(min=1e-3))
        inside = math.log(2 * half) - log_scale + share.log()
        first, last = x < half, x > 1 - half
        value = torch.where(first, above, torch.where(last, below, above + below + inside))
        return value.flatten(2).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """E[x|z], exact: the sum over k of P(at least k), divided by levels - 1."""
        mean, log_scale = self._mean_and_log_scale(parameters)
        precision, total = (-log_scale).exp(), torch.zeros_like(mean)
        for k in range(1, self.levels):  # E[k] is the sum of P(at least k)
            total = total + ((mean - (k - 0.5) / (self.levels - 1)) * precision).sigmoid()
        return total / (self.levels - 1)

    def sample(self, parameters: Tensor) -> Tensor:
        """A logistic draw, rounded to the nearest level."""
        mean, log_scale = self._mean_and_log_scale(parameters)
        value = mean + log_scale.exp() * noise.uniform(*mean.shape).to(mean).logit()
        return (value * (self.levels - 1)).round().clamp(0, self.levels - 1) / (self.levels - 1)
