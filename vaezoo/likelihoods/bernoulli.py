"""The Bernoulli likelihood."""

from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.registry import register


@register.likelihood("bernoulli")
class Bernoulli(Likelihood):
    """Independent binary pixels; the parameters are logits.

    log p(x|l) = x l - log(1 + e^l), on logits throughout, so that nothing is clamped. Sums to 1 over {0, 1}.
    """

    measures = ("binary",)

    def __init__(self, spec: DataSpec):
        super().__init__()
        self.parameter_shape = spec.shape

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        lost = F.binary_cross_entropy_with_logits(parameters, x.expand_as(parameters), reduction="none")
        return -lost.flatten(2).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def sample(self, parameters: Tensor) -> Tensor:
        return (noise.uniform(*parameters.shape).to(parameters) < parameters.sigmoid()).to(parameters.dtype)
