"""The posterior of a hierarchy that is drawn from the top down."""

import math
from itertools import pairwise

from torch import Tensor, nn

from vaezoo.core.contracts import Latents, Posterior
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.groups import GaussianGroups
from vaezoo.nets.context import ContextStack
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.posterior("top-down", paper="Tomczak and Welling (2018), arXiv:1705.07120")
class TopDown(Posterior):
    """q(z|x) = q(z_1|x) q(z_2|z_1, x) .. q(z_L|z_{L-1}, x), diagonal Gaussians, where z_1 is the top group.

    A linear map of the features gives the top group's mean and log_std. Below, they are the sum of a linear map of the
    features and of a network of the widths `hidden`, which sees the group above and the features. Through the network
    alone a group learns slowly: the image is two more layers away. It shares no parameter with the prior. One group
    gives the posterior `gaussian`.

    [B, *features] -> GaussianGroups over [B, Z_l], top first
    """

    def __init__(
        self, features: tuple[int, ...], latents: tuple[int, ...], hidden: tuple[int, ...], *, activation: str = "relu"
    ):
        super().__init__()
        width = math.prod(features)
        self.top = Linear(width, 2 * latents[0])
        self.direct = nn.ModuleList(Linear(width, 2 * size, bias=False) for size in latents[1:])
        self.below = nn.ModuleList()
        for above, size in pairwise(latents):
            sizes = (above, *hidden, 2 * size)
            layers = [Linear(inputs, outputs) for inputs, outputs in pairwise(sizes)]
            self.below.append(ContextStack(layers, activation, context=width))

    def forward(self, features: Tensor) -> GaussianGroups:
        """q(z|x) of each image. [B, *features] -> groups top first, each [K, B, Z_l]"""
        features = features.flatten(1)

        def conditional(above: Latents) -> DiagonalGaussian:
            """The Gaussian of the next group, given those above it."""
            if not above:
                return DiagonalGaussian.from_heads(self.top(features))
            number = len(above) - 1
            return DiagonalGaussian.from_heads(self.direct[number](features) + self.below[number](above[-1], features))

        return GaussianGroups(conditional, 1 + len(self.below))
