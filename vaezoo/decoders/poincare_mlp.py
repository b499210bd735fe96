"""The multi-layer perceptron decoder of points of the Poincare ball."""

from torch import Tensor

from vaezoo.decoders.mlp import MLP
from vaezoo.flows.poincare import to_centre
from vaezoo.registry import register


@register.decoder("poincare-mlp", paper="Mathieu et al. (2019), arXiv:1901.06033")
class PoincareMLP(MLP):
    """The decoder `mlp` of log_0(z), the tangent vector at the centre of the ball that leads to z: its length is the
    distance 2 artanh |z|, which grows without bound where |z| comes to 1. Dense layers of the widths `hidden` in
    reverse order, each followed by the activation, then a linear layer.

    [N, Z] -> [N, *parameter_shape]. Points outside the ball are taken as those of its border.
    """

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(to_centre(z.double()).to(z))
