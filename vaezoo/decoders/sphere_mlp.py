"""The multi-layer perceptron decoder of points on a sphere."""

from torch import Tensor

from vaezoo.decoders.mlp import MLP
from vaezoo.registry import register


@register.decoder("sphere-mlp")
class SphereMLP(MLP):
    """The decoder `mlp` of sqrt(Z) z: for latents on the unit sphere, whose coordinates are of size 1 / sqrt(Z), so
    that they come in at size 1. Without the factor q learns far more slowly. Dense layers of the widths `hidden` in
    reverse order, each followed by the activation, then a linear layer.

    [N, Z] -> [N, *parameter_shape]
    """

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.shape[-1] ** 0.5 * z)
