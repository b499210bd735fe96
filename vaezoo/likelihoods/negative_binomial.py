"""The negative binomial likelihood."""

import torch
from torch import Tensor, nn

from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.gaussian import bounded_log_std
from vaezoo.nets.counts import checked_column, negative_binomial, negative_binomial_log_prob, with_library
from vaezoo.registry import register


@register.likelihood("negative-binomial", paper="Lopez et al. (2018), scVI, doi:10.1038/s41592-018-0229-2")
class NegativeBinomial(Likelihood):
    """Independent counts of mean m and variance m + m^2 / r, more spread than Poisson's: the natural one for counts.

        log p(x) = lgamma(x + r) - lgamma(r) - lgamma(x + 1) + r log(r / (r + m)) + x log(m / (r + m))

    in nats. The parameters are l = log m. Where images of D pixels have a context, its column `library_column` holds
    the log of the library size, and m is e^l times library size / D. The dispersion r of each pixel is learned; it
    starts at 1, and its logarithm is bounded in (-8, 8). Sums to 1; equals `poisson` in the limit of large r.
    """

    measures = ("counts",)

    def __init__(self, spec: DataSpec, *, library_column: int = 0):
        super().__init__()
        self.column, self.axes = checked_column(spec, library_column), len(spec.shape)
        self.parameter_shape = spec.shape
        self.raw_dispersion = nn.Parameter(torch.zeros(spec.shape))

    @property
    def log_dispersion(self) -> Tensor:
        """log r of each pixel. [*shape]"""
        return bounded_log_std(self.raw_dispersion)

    def log_mean(self, log_rate: Tensor, context: Tensor | None) -> Tensor:
        """log m of each pixel, of l and the context. [..., B, *shape]"""
        return with_library(log_rate, context, self.column, self.axes)

    def log_prob(self, x: Tensor, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        log_mean = self.log_mean(parameters, context)
        return negative_binomial_log_prob(x, log_mean, self.log_dispersion).flatten(2).sum(-1)

    def mean(self, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        return self.log_mean(parameters, context).exp()

    def sample(self, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        return negative_binomial(self.log_mean(parameters, context).exp(), self.log_dispersion.exp())
