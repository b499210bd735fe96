"""The categorical likelihood: a weight for each level of each pixel."""

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError
from vaezoo.registry import register


@register.likelihood("categorical", paper="van den Oord et al. (2016), arXiv:1601.06759")
class Categorical(Likelihood):
    """Independent pixels, each with a probability of its own for each level: softmax of the decoder's logits.

    The parameters are [levels, *shape]. The levels sum to 1; no order of the levels is assumed, so that any
    distribution of a pixel can be learned, at the cost of `levels` outputs a pixel.
    """

    measures = ("discrete",)

    def __init__(self, spec: DataSpec):
        super().__init__()
        if spec.levels is None or spec.levels < 2:
            raise VaezooError(f"categorical needs images of 2 or more levels, got levels={spec.levels}")
        self.levels = spec.levels
        self.parameter_shape = (spec.levels, *spec.shape)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """The logit of each pixel's level minus the logarithm of the sum of all exponentials."""
        level = (x * (self.levels - 1)).round().long().expand(len(parameters), *x.shape).unsqueeze(2)
        chosen = parameters.gather(2, level).squeeze(2)
        return (chosen - parameters.logsumexp(2)).flatten(2).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The mean level of each pixel, in [0, 1]."""
        axis = parameters.ndim - len(self.parameter_shape)
        values = torch.arange(self.levels, device=parameters.device, dtype=parameters.dtype) / (self.levels - 1)
        return (parameters.softmax(axis).movedim(axis, -1) * values).sum(-1)

    def sample(self, parameters: Tensor) -> Tensor:
        axis = parameters.ndim - len(self.parameter_shape)
        return noise.categorical(parameters.movedim(axis, -1)).to(parameters) / (self.levels - 1)
