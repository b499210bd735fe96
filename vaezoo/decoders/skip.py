"""The decoder with skip connections from the latents."""

import math

import torch
from torch import Tensor, nn

from vaezoo.core.contracts import Decoder
from vaezoo.nets.dense import activation_named
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.decoder("skip", paper="Dieng et al. (2019), arXiv:1807.04863")
class SkipDecoder(Decoder):
    """The decoder `mlp` of which every layer is given z: h_{i+1} = a(W_i h_i + V_i z + b_i), and the parameters are
    linear in the last h and z. [N, Z] -> [N, *parameter_shape]

    Skip connections raise the information that z has about x. With V_i = 0 but in the first layer it is `mlp`; without
    `hidden` it is linear.
    """

    def __init__(
        self, latent: int, hidden: tuple[int, ...], parameter_shape: tuple[int, ...], *, activation: str = "relu"
    ):
        super().__init__()
        widths = hidden[::-1]
        before = [0, *widths]
        self.layers = nn.ModuleList(Linear(h + latent, w) for h, w in zip(before[:-1], widths, strict=True))
        self.activation = activation_named(activation)
        self.out = nn.Sequential(
            Linear(before[-1] + latent, math.prod(parameter_shape)), nn.Unflatten(-1, parameter_shape)
        )

    def forward(self, z: Tensor) -> Tensor:
        """The parameters of p(x|z). [N, Z] -> [N, *parameter_shape]"""
        given = z
        for layer in self.layers:
            given = torch.cat([self.activation(layer(given)), z], -1)
        parameters: Tensor = self.out(given)
        return parameters
