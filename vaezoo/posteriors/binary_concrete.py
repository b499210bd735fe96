"""The binary concrete posterior: relaxed bits."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Posterior
from vaezoo.core.errors import VaezooError
from vaezoo.nets.linear import Linear
from vaezoo.nets.logistic import Logistic, binary_concrete
from vaezoo.registry import register


@register.posterior("binary-concrete", paper="Maddison et al. (2017), arXiv:1611.00712")
class BinaryConcrete(Posterior):
    """q(z|x): sigmoid(z_j) is a relaxed bit, BinConcrete(exp(logit_j(x)), temperature).

    z itself is the relaxed bit's logit, z = (logit + log(u / (1 - u))) / temperature with u uniform in (0, 1): on the
    whole real line neither z nor its density overflows, where sigmoid(z) would be rounded to 0 or 1. So the density is
    that of a logistic number, with respect to z, and any prior on the real line goes with it; the bound is that of this
    continuous model. The decoder `sigmoid-mlp` sees sigmoid(z). z_j > 0 has the probability sigmoid(logit_j), that of
    the bit, at any temperature.

    [B, *features] -> a Logistic over [B, Z]. VaezooError for a temperature that is not above 0.
    """

    def __init__(self, features: tuple[int, ...], latent: int, *, temperature: float = 0.66):
        super().__init__()
        if not temperature > 0:
            raise VaezooError(f"temperature must be above 0, got {temperature:g}")
        self.heads = nn.Sequential(nn.Flatten(1), Linear(math.prod(features), latent))
        self.temperature = temperature

    def forward(self, features: Tensor) -> Logistic:
        return binary_concrete(self.heads(features), self.temperature)
