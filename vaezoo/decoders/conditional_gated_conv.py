"""The gated convolutional decoder of a conditional model."""

import torch
from torch import Tensor

from vaezoo.core.contracts import Decoder
from vaezoo.core.data import DataSpec
from vaezoo.decoders.gated_conv import GatedConv
from vaezoo.registry import register


@register.decoder("conditional-gated-conv", paper="Sohn et al. (2015), NeurIPS")
class ConditionalGatedConv(Decoder):
    """The decoder `gated-conv` of the latents and the context, concatenated, for p(x|z, context). [N, Z], [N, C'] ->
    [N, *parameter_shape]

    Equals `gated-conv` where the first layer's weights of the context are 0. The builder skips images without
    context; raises Skip for data that are not images.
    """

    def __init__(
        self,
        spec: DataSpec,
        latent: int,
        parameter_shape: tuple[int, ...],
        *,
        channels: tuple[int, ...] = (64, 32),
        kernel: int = 5,
    ):
        super().__init__()
        assert spec.context is not None
        self.net = GatedConv(latent + spec.context, parameter_shape, channels=channels, kernel=kernel)

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        parameters: Tensor = self.net(torch.cat([z, context], -1))
        return parameters
