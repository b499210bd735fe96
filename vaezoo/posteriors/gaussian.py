"""The diagonal Gaussian posterior."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Posterior
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.posterior("gaussian", paper="Kingma and Welling (2014), arXiv:1312.6114")
class Gaussian(Posterior):
    """q(z|x) = N(mean(x), diag(std(x)^2)): linear heads map the features to mean and log_std, which is bounded.

    [B, *features] -> a DiagonalGaussian over [B, Z]
    """

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Sequential(nn.Flatten(1), Linear(math.prod(features), 2 * latent))

    def forward(self, features: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian.from_heads(self.heads(features))
