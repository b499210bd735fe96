"""The multi-layer perceptron decoder of relaxed bits."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Decoder
from vaezoo.nets.dense import dense_stack
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.decoder("sigmoid-mlp")
class SigmoidMLP(Decoder):
    """The decoder `mlp` of sigmoid(z): for latents that are the logits of relaxed bits. Dense layers of the widths
    `hidden` in reverse order, each followed by the activation, then a linear layer.

    [N, Z] -> [N, *parameter_shape]
    """

    def __init__(
        self, latent: int, hidden: tuple[int, ...], parameter_shape: tuple[int, ...], *, activation: str = "relu"
    ):
        super().__init__()
        last = hidden[0] if hidden else latent
        self.net = nn.Sequential(
            dense_stack(latent, hidden[::-1], activation),
            Linear(last, math.prod(parameter_shape)),
            nn.Unflatten(-1, parameter_shape),
        )

    def forward(self, z: Tensor) -> Tensor:
        parameters: Tensor = self.net(z.sigmoid())
        return parameters
