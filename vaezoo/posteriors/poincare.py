"""The wrapped normal posterior on the Poincare ball."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core.contracts import Posterior, Support, flat_parameters
from vaezoo.core.gaussian import bounded_log_std
from vaezoo.flows.poincare import WrappedNormal, length, widest
from vaezoo.nets.linear import Linear
from vaezoo.registry import register

FARTHEST = 5.0
"""The distance from the centre that means stay below."""


@register.posterior("poincare", paper="Mathieu et al. (2019), arXiv:1901.06033; Nagano et al. (2019), arXiv:1902.02992")
class Poincare(Posterior):
    """q(z|x): a normal in the tangent space at mu(x), wrapped onto the Poincare ball by the exponential map.

    z is in the open unit ball of R^Z, where distances are those of curvature -1. Linear heads map the features to the
    tangent vector at the centre that leads to mu, of length 5 tanh(length / 5), and to log_std, which is bounded
    smoothly, std = w sigmoid(head - log w) in its middle, with w = 7 / (sqrt(Z) + 3), so that float32 can tell samples
    from the border of the ball (`flows/poincare.py`). Densities are with respect to the volume of the ball.
    Another curvature scales all distances, which the heads learn; see the prior `hyperbolic-normal`. The decoder
    `poincare-mlp` takes z by the logarithm, not by the paper's gyroplane layer.

    [B, *features] -> a WrappedNormal over [B, Z]
    """

    support: Support = "ball"

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Sequential(nn.Flatten(1), Linear(flat_parameters(features), 2 * latent))
        self.log_widest = math.log(widest(latent, FARTHEST))

    def forward(self, features: Tensor) -> WrappedNormal:
        """q(z|x) of each image, its mean pulled inside FARTHEST. [B, *features] -> points of the ball [K, B, Z]"""
        mean, log_std = self.heads(features).chunk(2, -1)
        distance = length(mean)
        mean = mean * (FARTHEST * torch.tanh(distance / FARTHEST) / distance).unsqueeze(-1)
        return WrappedNormal(mean, self.log_widest - F.softplus(self.log_widest - bounded_log_std(log_std)))
