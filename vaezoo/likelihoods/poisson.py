"""The Poisson likelihood."""

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.nets.counts import checked_column, with_library
from vaezoo.registry import register


@register.likelihood("poisson", paper="Gopalan et al. (2015), UAI, arXiv:1311.1704, as a model of counts")
class Poisson(Likelihood):
    """Independent counts with log p(x) = x l - e^l - log x!, whose mean and variance are the rate e^l.

    The parameters are l. Where images of D pixels have a context, its column `library_column` holds the log of the
    library size, and the rate is e^l times library size / D, as with the exposure of a Poisson regression. Sums to 1.
    """

    measures = ("counts",)

    def __init__(self, spec: DataSpec, *, library_column: int = 0):
        super().__init__()
        self.column = checked_column(spec, library_column)
        self.parameter_shape, self.axes = spec.shape, len(spec.shape)

    def _log_rate(self, parameters: Tensor, context: Tensor | None) -> Tensor:
        return with_library(parameters, context, self.column, self.axes)

    def log_prob(self, x: Tensor, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        log_rate = self._log_rate(parameters, context)
        return (x * log_rate - log_rate.exp() - torch.lgamma(x + 1)).flatten(2).sum(-1)

    def mean(self, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        return self._log_rate(parameters, context).exp()

    def sample(self, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        return noise.poisson(self.mean(parameters, context))
