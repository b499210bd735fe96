"""The residual decoder of a conditional model."""

import torch
from torch import Tensor

from vaezoo.core.contracts import Decoder
from vaezoo.core.data import DataSpec
from vaezoo.decoders.resnet import ResNet
from vaezoo.registry import register


@register.decoder("conditional-resnet", paper="Sohn et al. (2015), NeurIPS")
class ConditionalResNet(Decoder):
    """The decoder `resnet` of the latents and the context, concatenated, for p(x|z, context). [N, Z], [N, C'] ->
    [N, *parameter_shape]

    Equals `resnet` where the first layer's weights of the context are 0. The builder skips images without
    context; raises Skip for data that are not images.
    """

    def __init__(
        self,
        spec: DataSpec,
        latent: int,
        parameter_shape: tuple[int, ...],
        *,
        channels: tuple[int, ...] = (32, 16),
        blocks: int = 1,
        activation: str = "silu",
    ):
        super().__init__()
        assert spec.context is not None
        self.net = ResNet(
            latent + spec.context, parameter_shape, channels=channels, blocks=blocks, activation=activation
        )

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        parameters: Tensor = self.net(torch.cat([z, context], -1))
        return parameters
