"""The multi-layer perceptron decoder of a conditional model."""

import math

import torch
from torch import Tensor, nn

from vaezoo.core.contracts import Decoder
from vaezoo.core.data import DataSpec
from vaezoo.nets.dense import dense_stack
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.decoder("conditional-mlp", paper="Sohn et al. (2015), NeurIPS")
class ConditionalMLP(Decoder):
    """The decoder `mlp` of the latents and the context, concatenated, for p(x|z, context). [N, Z], [N, C] ->
    [N, *parameter_shape]

    Equals `mlp` where the first layer's weights of the context are 0. The builder skips images without context.
    """

    def __init__(
        self,
        spec: DataSpec,
        latent: int,
        hidden: tuple[int, ...],
        parameter_shape: tuple[int, ...],
        *,
        activation: str = "relu",
    ):
        super().__init__()
        assert spec.context is not None
        inputs = latent + spec.context
        last = hidden[0] if hidden else inputs
        self.net = nn.Sequential(
            dense_stack(inputs, hidden[::-1], activation),
            Linear(last, math.prod(parameter_shape)),
            nn.Unflatten(-1, parameter_shape),
        )

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        parameters: Tensor = self.net(torch.cat([z, context], -1))
        return parameters
