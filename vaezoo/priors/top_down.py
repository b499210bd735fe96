"""The prior of a hierarchy, drawn from the top down."""

from itertools import pairwise

from torch import nn

from vaezoo.core.contracts import Latents
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.groups import TopDownPrior
from vaezoo.nets.gaussian import GaussianNet
from vaezoo.registry import register


@register.prior("top-down", paper="Burda et al. (2016), arXiv:1509.00519; Sønderby et al. (2016), arXiv:1602.02282")
class TopDown(TopDownPrior):
    """p(z) = N(z_1; 0, I) p(z_2|z_1) .. p(z_L|z_{L-1}), diagonal Gaussians, where z_1 is the top group.

    A network of the widths `hidden`, in reverse order, maps each group to mean and log_std of the group below it. One
    group gives the prior `normal`. The KL of each group is in closed form where q is drawn from the top down too.
    """

    def __init__(self, latents: tuple[int, ...], hidden: tuple[int, ...], *, activation: str = "relu"):
        super().__init__(latents)
        nets = (GaussianNet(high, hidden[::-1], low, activation=activation) for high, low in pairwise(latents))
        self.below = nn.ModuleList(nets)

    def conditional(self, above: Latents) -> DiagonalGaussian:
        """p of the next group, given those above it; N(0, I) for the top one."""
        if not above:
            return self.standard_normal()
        found: DiagonalGaussian = self.below[len(above) - 1](above[-1])
        return found
