"""The zero-inflated negative binomial likelihood."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.core.data import DataSpec
from vaezoo.likelihoods.negative_binomial import NegativeBinomial
from vaezoo.nets.counts import negative_binomial_log_prob
from vaezoo.registry import register


@register.likelihood("zero-inflated-negative-binomial", paper="Eraslan et al. (2019), doi:10.1038/s41467-018-07931-2")
class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """The counts of `negative-binomial`, each 0 with a further probability w, as a count that was not detected.

        p(x) = w [x = 0] + (1 - w) NB(x; m, r),    E[x] = (1 - w) m

    The parameters are [2, *shape]: log m, to which the library size is added as there, and the logit of w.
    Sums to 1; equals `negative-binomial` in the limit w -> 0.
    """

    def __init__(self, spec: DataSpec, *, library_column: int = 0):
        super().__init__(spec, library_column=library_column)
        self.parameter_shape = (2, *spec.shape)

    def _split(self, parameters: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """log m and the logit of w, each [..., *shape]."""
        log_rate, logit = parameters.unbind(parameters.ndim - len(self.parameter_shape))
        return self.log_mean(log_rate, context), logit

    def log_prob(self, x: Tensor, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x|z) of each image in nats; a count of 0 is either missing or counted."""
        log_mean, logit = self._split(parameters, context)
        counted = F.logsigmoid(-logit) + negative_binomial_log_prob(x, log_mean, self.log_dispersion)
        value = torch.where(x == 0, torch.logaddexp(F.logsigmoid(logit), counted), counted)
        return value.flatten(2).sum(-1)

    def mean(self, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        log_mean, logit = self._split(parameters, context)
        return (-logit).sigmoid() * log_mean.exp()

    def sample(self, parameters: Tensor, context: Tensor | None = None) -> Tensor:
        """Counts, of which a share w is 0."""
        log_mean, logit = self._split(parameters, context)
        missing = noise.uniform(*logit.shape).to(logit) < logit.sigmoid()
        return super().sample(log_mean).masked_fill(missing, 0.0)
