"""The residual decoder."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Decoder
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.nets.conv import check_channels, halved
from vaezoo.nets.dense import activation_named
from vaezoo.nets.linear import Linear
from vaezoo.nets.resnet import ResidualBlock2d, UpBlock2d
from vaezoo.registry import register


@register.decoder("resnet", paper="He et al. (2016), arXiv:1603.05027")
class ResNet(Decoder):
    """Mirror of the encoder `resnet`: a dense layer to an image of channels[0], then for each of `channels` `blocks`
    residual blocks that keep the sides and one that doubles them, then a 3x3 convolution.

    [N, Z] -> [N, *parameter_shape], whose last two axes are height and width. Without normalisation: a residual starts
    at 0. Raises Skip for data that are not images.
    """

    def __init__(
        self,
        latent: int,
        parameter_shape: tuple[int, ...],
        *,
        channels: tuple[int, ...] = (32, 16),
        blocks: int = 1,
        activation: str = "silu",
    ):
        super().__init__()
        check_channels(channels)
        if blocks < 0:
            raise VaezooError(f"blocks must be 0 or more, got {blocks}")
        if len(parameter_shape) < 3:
            raise Skip(f"decoder 'resnet' needs images [channels, height, width], got {list(parameter_shape)}")
        heights, widths = (halved(side, len(channels))[::-1] for side in parameter_shape[-2:])
        start = (channels[0], heights[0], widths[0])
        layers: list[nn.Module] = [Linear(latent, math.prod(start)), nn.Unflatten(-1, start)]
        before = channels[0]
        for outputs, height, width in zip(channels, heights[1:], widths[1:], strict=True):
            layers += [ResidualBlock2d(before, activation=activation) for _ in range(blocks)]
            layers.append(UpBlock2d(before, outputs, (height, width), activation=activation))
            before = outputs
        layers += [activation_named(activation), nn.Conv2d(before, math.prod(parameter_shape[:-2]), 3, padding=1)]
        self.net = nn.Sequential(*layers)
        self.parameter_shape = parameter_shape

    def forward(self, z: Tensor) -> Tensor:
        parameters: Tensor = self.net(z)
        return parameters.reshape(-1, *self.parameter_shape)
