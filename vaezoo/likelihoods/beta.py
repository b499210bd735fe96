"""The beta likelihood."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip
from vaezoo.registry import register

LEAST = 1 / 3
"""What both shape parameters stay above: below it much of the mass lies closer to 0 or 1 than float32 can tell."""
START = math.log(math.expm1(1 - LEAST))
"""LEAST + softplus(START) is 1."""


@register.likelihood("beta", paper="Ma and Leijon (2011), IEEE TPAMI 33(11), as a model of bounded data")
class Beta(Likelihood):
    """p(x|z) = x^(a - 1) (1 - x)^(b - 1) / B(a, b), of independent pixels in (0, 1). Integrates to 1.

    The parameters are [2, *shape], raw a and b: a = 1/3 + softplus(r + c), where c is such that a decoder that gives 0
    starts at a = b = 1, the uniform density. E[x] = a / (a + b). log B is computed in float64, since differences of
    lgamma cancel. A pixel of exactly 0 or 1, where a density may be infinite, is scored as the nearest number inside.
    Raises Skip for images that are not declared to lie in [0, 1].
    """

    measures = ("continuous",)

    def __init__(self, spec: DataSpec):
        super().__init__()
        if spec.levels is None and spec.measure == "continuous":
            raise Skip(
                "beta scores images in [0, 1], and these may lie anywhere; continuous images with levels lie there, as "
                "those of digits-dequantised"
            )
        self.parameter_shape = (2, *spec.shape)

    def _shapes(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        raw = LEAST + F.softplus(parameters + START)
        a, b = raw.unbind(parameters.ndim - len(self.parameter_shape))
        return a, b

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|z) of each image in nats."""
        a, b = self._shapes(parameters)
        limits = torch.finfo(x.dtype)
        log_x = x.clamp(min=limits.tiny).log()
        log_rest = (-x.clamp(max=1 - limits.eps / 2)).log1p()
        value = (a - 1) * log_x + (b - 1) * log_rest - _log_beta(a.double(), b.double()).to(x)
        return value.flatten(2).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        a, b = self._shapes(parameters)
        return a / (a + b)

    def sample(self, parameters: Tensor) -> Tensor:
        """The share of the first of two gamma numbers in their sum."""
        first, second = (noise.gamma(shape.double()) for shape in self._shapes(parameters))
        return (first / (first + second)).to(parameters)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    """log B(a, b) = lgamma(a) + lgamma(b) - lgamma(a + b). [...], [...] -> [...]"""
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
