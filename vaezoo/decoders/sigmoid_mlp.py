"""The multi-layer perceptron decoder of relaxed bits."""

from torch import Tensor

from vaezoo.decoders.mlp import MLP
from vaezoo.registry import register


@register.decoder("sigmoid-mlp")
class SigmoidMLP(MLP):
    """The decoder `mlp` of sigmoid(z): for latents that are the logits of relaxed bits. Dense layers of the widths
    `hidden` in reverse order, each followed by the activation, then a linear layer.

    [N, Z] -> [N, *parameter_shape]
    """

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.sigmoid())
