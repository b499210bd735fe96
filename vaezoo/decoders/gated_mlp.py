"""The gated multi-layer perceptron decoder."""

import math
from itertools import pairwise

from torch import Tensor, nn

from vaezoo.core.contracts import Decoder
from vaezoo.nets.gated import GatedLinear
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.decoder(
    "gated-mlp", paper="Tomczak and Welling (2018), arXiv:1705.07120; Dauphin et al. (2017), arXiv:1612.08083"
)
class GatedMLP(Decoder):
    """Gated dense layers of the widths `hidden` in reverse order, then a linear layer. A gated layer gives
    h * sigmoid(g), with h and g linear in what it gets. [N, Z] -> [N, *parameter_shape]
    """

    def __init__(self, latent: int, hidden: tuple[int, ...], parameter_shape: tuple[int, ...]):
        super().__init__()
        widths = (latent, *hidden[::-1])
        self.net = nn.Sequential(
            *(GatedLinear(a, b) for a, b in pairwise(widths)),
            Linear(widths[-1], math.prod(parameter_shape)),
            nn.Unflatten(-1, parameter_shape),
        )

    def forward(self, z: Tensor) -> Tensor:
        parameters: Tensor = self.net(z)
        return parameters
