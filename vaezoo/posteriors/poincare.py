"""The wrapped normal posterior on the Poincare ball."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core.contracts import Posterior, Support, flat_parameters
from vaezoo.core.gaussian import bounded_log_std
from vaezoo.flows.poincare import WrappedNormal, length
from vaezoo.nets.linear import Linear
from vaezoo.registry import register

FARTHEST = 10.0
"""The distance from the centre that means stay below."""
WIDEST = 3.0
"""What standard deviations stay below, so that float32 can tell samples from the border of the ball."""


@register.posterior("poincare", paper="Mathieu et al. (2019), arXiv:1901.06033; Nagano et al. (2019), arXiv:1902.02992")
class Poincare(Posterior):
    """q(z|x): a normal in the tangent space at mu(x), wrapped onto the Poincare ball by the exponential map.

    z is in the open unit ball of R^Z, where distances are those of curvature -1. Linear heads map the features to the
    tangent vector at the centre that leads to mu, of length 10 tanh(length / 10), and to log_std, which is bounded
    below 3 smoothly, std = 3 sigmoid(head - log 3) in its middle. Densities are with respect to the volume of the ball.
    Another curvature scales all distances, which the heads learn; see the prior `hyperbolic-normal`. The decoder gets z
    as coordinates, not through the paper's gyroplane layer.

    [B, *features] -> a WrappedNormal over [B, Z]
    """

    support: Support = "ball"

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Sequential(nn.Flatten(1), Linear(flat_parameters(features), 2 * latent))

    def forward(self, features: Tensor) -> WrappedNormal:
        """q(z|x) of each image, its mean pulled inside FARTHEST. [B, *features] -> points of the ball [K, B, Z]"""
        mean, log_std = self.heads(features).chunk(2, -1)
        distance = length(mean)
        mean = mean * (FARTHEST * torch.tanh(distance / FARTHEST) / distance).unsqueeze(-1)
        widest = math.log(WIDEST)
        return WrappedNormal(mean, widest - F.softplus(widest - bounded_log_std(log_std)))
