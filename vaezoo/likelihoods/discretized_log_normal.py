"""The discretised log-normal likelihood: a Gaussian on log-counts, as probabilities of the counts."""

import math

import torch
from torch import Tensor
from torch.special import ndtr

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.nets.counts import checked_column, with_library
from vaezoo.nets.normal import log_ndtr
from vaezoo.nets.scale import Kind, Scale
from vaezoo.registry import register

TERMS = 64
"""The terms of the mean that are added one by one; the rest is their integral."""


@register.likelihood("discretized-log-normal")
class DiscretizedLogNormal(Likelihood):
    """The counts x = round(e^y - 1), at least 0, of a Gaussian y on the scale log(1 + x): y ~ N(m, s^2).

        P(x) = F((log(x + 3/2) - m) / s) - F((log(x + 1/2) - m) / s),    P(0) = F((log(3/2) - m) / s)

    with the normal distribution function F, computed from log F in float64, so that it is exact far in the tails. It is
    what a Gaussian on log-counts says of the counts themselves: with v = x + u, u uniform in (-1/2, 1/2), the mean of
    log N(log(1 + v); m, s) - log(1 + v) is a bound of log P(x) from below. The parameters are m. Where images of D
    pixels have a context, its column `library_column` holds the log of the library size, and log(library size / D) is
    added to m. scale: what s is, `learned` (one parameter), `fixed` (`initial_scale`) or `per-pixel` (the decoder's
    second output, so that the parameters are [2, *shape]). It stays above `min_scale`. Sums to 1.
    """

    measures = ("counts",)

    def __init__(
        self,
        spec: DataSpec,
        *,
        scale: Kind = "learned",
        initial_scale: float = 0.5,
        min_scale: float = 0.01,
        library_column: int = 0,
    ):
        super().__init__()
        self.scale = Scale(scale, initial_scale, min_scale, ("initial_scale", "min_scale"))
        self.column, self.axes = checked_column(spec, library_column), len(spec.shape)
        self.parameter_shape = self.scale.parameter_shape(spec.shape)

    def _of(self, parameters: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """m and s, float64. [..., *shape], and what broadcasts to it"""
        location, scale = self.scale(parameters, self.axes)
        return with_library(location, context, self.column, self.axes).double(), scale.double()

    def log_prob(self, x: Tensor, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x|z) of each image in nats: the mass between two halves, from whichever tail keeps the digits."""
        m, s = self._of(parameters, context)
        count = x.double()
        low, high = ((count + 0.5).log() - m) / s, ((count + 1.5).log() - m) / s
        flipped = low + high > 0  # where the upper tail keeps the digits
        below = log_ndtr(torch.where(flipped, -high, low))
        above = log_ndtr(torch.where(flipped, -low, high))
        inside = above + (-torch.expm1(below - above)).log()
        value = torch.where(count == 0, log_ndtr(high), inside)
        return value.flatten(2).sum(-1).to(parameters)

    def mean(self, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        """E[x|z], the sum of P(at least k): its first TERMS, and for the rest their integral with the first correction
        of Euler and Maclaurin.

        The integral is E[max(e^y - a, 0)] with a = TERMS + 1, as of an option in Black and Scholes (1973).
        """
        m, s = self._of(parameters, context)
        total = torch.zeros_like(m)
        for k in range(1, TERMS + 1):
            total = total + ndtr((m - math.log(k + 0.5)) / s)
        a = TERMS + 1
        d = (m - math.log(a)) / s
        rest = (m + s.square() / 2 + log_ndtr(d + s)).exp() - a * ndtr(d)
        slope = -(-0.5 * d.square()).exp() / (math.sqrt(2 * math.pi) * s * a)
        mean: Tensor = total + rest + slope / 24
        return mean.to(parameters)

    def sample(self, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        """A count of each pixel, e^y - 1 rounded."""
        m, s = self._of(parameters, context)
        y = m + s * noise.normal(*m.shape).to(m)
        return y.expm1().round().clamp(min=0).to(parameters)
