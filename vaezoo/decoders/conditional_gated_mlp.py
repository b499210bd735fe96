"""The gated multi-layer perceptron decoder of a conditional model."""

import torch
from torch import Tensor

from vaezoo.core.contracts import Decoder
from vaezoo.core.data import DataSpec
from vaezoo.decoders.gated_mlp import GatedMLP
from vaezoo.registry import register


@register.decoder("conditional-gated-mlp", paper="Sohn et al. (2015), NeurIPS")
class ConditionalGatedMLP(Decoder):
    """The decoder `gated-mlp` of the latents and the context, concatenated, for p(x|z, context). [N, Z], [N, C'] ->
    [N, *parameter_shape]

    Equals `gated-mlp` where the first layer's weights of the context are 0. The builder skips images without context.
    """

    def __init__(
        self,
        spec: DataSpec,
        latent: int,
        hidden: tuple[int, ...],
        parameter_shape: tuple[int, ...],
    ):
        super().__init__()
        assert spec.context is not None
        self.net = GatedMLP(latent + spec.context, hidden, parameter_shape)

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        parameters: Tensor = self.net(torch.cat([z, context], -1))
        return parameters
