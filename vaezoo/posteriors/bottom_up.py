"""The posterior of a hierarchy that is drawn from the bottom up."""

import math
from itertools import pairwise

from torch import Tensor, nn

from vaezoo.core.contracts import Latents, Posterior
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.groups import GaussianGroups
from vaezoo.nets.gaussian import GaussianNet
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.posterior(
    "bottom-up", paper="Burda et al. (2016), arXiv:1509.00519; Sønderby et al. (2016), arXiv:1602.02282"
)
class BottomUp(Posterior):
    """q(z|x) = q(z_L|x) q(z_{L-1}|z_L) .. q(z_1|z_2), diagonal Gaussians, where z_1 is the top group.

    Linear heads map the features to the lowest group's mean and log_std; a network of the widths `hidden` maps each
    group to those of the group above it. One group gives the posterior `gaussian`.

    [B, *features] -> GaussianGroups over [B, Z_l], top first
    """

    def __init__(
        self, features: tuple[int, ...], latents: tuple[int, ...], hidden: tuple[int, ...], *, activation: str = "relu"
    ):
        super().__init__()
        upwards = latents[::-1]
        self.heads = nn.Sequential(nn.Flatten(1), Linear(math.prod(features), 2 * upwards[0]))
        self.above = nn.ModuleList(
            GaussianNet(low, hidden, high, activation=activation) for low, high in pairwise(upwards)
        )

    def forward(self, features: Tensor) -> GaussianGroups:
        """q(z|x) of each image. [B, *features] -> groups top first, each [K, B, Z_l]"""
        lowest = DiagonalGaussian.from_heads(self.heads(features))

        def conditional(below: Latents) -> DiagonalGaussian:
            """The Gaussian of the next group, given those below it."""
            found: DiagonalGaussian = self.above[len(below) - 1](below[-1]) if below else lowest
            return found

        return GaussianGroups(conditional, 1 + len(self.above), bottom_up=True)
