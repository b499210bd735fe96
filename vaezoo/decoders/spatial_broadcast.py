"""The spatial broadcast decoder."""

import math

import torch
from torch import Tensor, nn

from vaezoo.core.contracts import Decoder
from vaezoo.core.errors import Skip
from vaezoo.nets.conv import check_channels
from vaezoo.nets.dense import activation_named
from vaezoo.registry import register


@register.decoder("spatial-broadcast", paper="Watters et al. (2019), arXiv:1901.07017")
class SpatialBroadcast(Decoder):
    """z at every pixel, beside the pixel's coordinates, then 3x3 convolutions of stride 1 to `channels` and to the
    parameters. No layer has to learn where a pixel is, which favours latents that are positions.

    [N, Z] -> [N, Z + 2, H, W] -> [N, *parameter_shape], whose last two axes are height and width. Coordinates go from
    -1 to 1; along a side of one pixel they are 0. The image is padded at each layer (the paper starts with a larger
    one). Raises Skip for data that are not images.
    """

    coordinates: Tensor

    def __init__(
        self,
        latent: int,
        parameter_shape: tuple[int, ...],
        *,
        channels: tuple[int, ...] = (32, 32, 32),
        activation: str = "relu",
    ):
        super().__init__()
        check_channels(channels)
        if len(parameter_shape) < 3:
            raise Skip(
                f"decoder 'spatial-broadcast' needs images [channels, height, width], got {list(parameter_shape)}"
            )
        along = [torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1) for side in parameter_shape[-2:]]
        self.register_buffer("coordinates", torch.stack(torch.meshgrid(*along, indexing="ij")), persistent=False)
        layers: list[nn.Module] = []
        before = latent + 2
        for outputs in channels:
            layers += [nn.Conv2d(before, outputs, 3, padding=1), activation_named(activation)]
            before = outputs
        self.net = nn.Sequential(*layers, nn.Conv2d(before, math.prod(parameter_shape[:-2]), 3, padding=1))
        self.parameter_shape = parameter_shape

    def forward(self, z: Tensor) -> Tensor:
        """The parameters of p(x|z). [N, Z] -> [N, *parameter_shape]"""
        size = self.coordinates.shape[1:]
        everywhere = z[:, :, None, None].expand(-1, -1, *size)
        at = self.coordinates.expand(len(z), -1, -1, -1)
        parameters: Tensor = self.net(torch.cat([everywhere, at], 1))
        return parameters.reshape(-1, *self.parameter_shape)
