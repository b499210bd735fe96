"""The ladder posterior, which merges an estimate of each group from the image with the prior's."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Latents, Posterior, Prior
from vaezoo.core.errors import Skip
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.groups import GaussianGroups, TopDownPrior
from vaezoo.nets.dense import dense_stack
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.posterior("ladder", paper="Sønderby et al. (2016), arXiv:1602.02282, without BatchNorm")
class Ladder(Posterior):
    """q(z|x) = q(z_1|x) q(z_2|z_1, x) .. q(z_L|z_{L-1}, x), diagonal Gaussians, where z_1 is the top group.

    Dense layers of the widths `hidden` lead from the features of each group to those of the group above it, and linear
    heads give an estimate of the group, a Gaussian. The top group's is its estimate. Below, q(z_l|z_{l-1}, x) is
    proportional to the product of the estimate and the prior's p(z_l|z_{l-1}): means weighted by precision. The
    prior's parameters are thus parameters of q too. One group gives the posterior `gaussian`.

    [B, *features] -> GaussianGroups over [B, Z_l], top first. Raises Skip where a prior of several groups is no
    TopDownPrior.
    """

    def __init__(
        self, features: tuple[int, ...], latents: tuple[int, ...], hidden: tuple[int, ...], *, activation: str = "relu"
    ):
        super().__init__()
        width = math.prod(features)
        self.heads = nn.ModuleList([Linear(width, 2 * latents[-1])])
        self.above = nn.ModuleList()
        for size in latents[-2::-1]:
            self.above.append(dense_stack(width, hidden, activation))
            width = hidden[-1] if hidden else width
            self.heads.append(Linear(width, 2 * size))

    def forward(self, features: Tensor, prior: Prior) -> GaussianGroups:
        """q(z|x) of each image. [B, *features] -> groups top first, each [K, B, Z_l]"""
        features = features.flatten(1)
        estimates = [DiagonalGaussian.from_heads(self.heads[0](features))]
        for layers, heads in zip(self.above, list(self.heads)[1:], strict=True):
            features = layers(features)
            estimates.insert(0, DiagonalGaussian.from_heads(heads(features)))

        def conditional(above: Latents) -> DiagonalGaussian:
            """The Gaussian of the next group, given those above it."""
            if not above:
                return estimates[0]
            if not isinstance(prior, TopDownPrior):
                raise Skip(
                    "posterior Ladder merges its estimates with the prior's p(z_l|z_above), which "
                    f"{type(prior).__name__} does not have; use the prior 'top-down'"
                )
            return estimates[len(above)].product(prior.conditional(above))

        return GaussianGroups(conditional, len(estimates))
