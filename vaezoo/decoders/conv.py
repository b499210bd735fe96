"""The convolutional decoder."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Decoder
from vaezoo.core.errors import Skip
from vaezoo.nets.conv import check_channels, halved
from vaezoo.nets.dense import activation_named, dense_stack
from vaezoo.registry import register


@register.decoder("conv")
class Conv(Decoder):
    """Mirror of the encoder `conv`: a dense layer, then transposed 3x3 convolutions of stride 2 to `channels`.

    [N, Z] -> [N, *parameter_shape], whose last two axes are height and width. Raises Skip for data that are not images.
    """

    def __init__(
        self,
        latent: int,
        parameter_shape: tuple[int, ...],
        *,
        channels: tuple[int, ...] = (64, 32),
        activation: str = "relu",
    ):
        super().__init__()
        check_channels(channels)
        if len(parameter_shape) < 3:
            raise Skip(f"decoder 'conv' needs images [channels, height, width], got {list(parameter_shape)}")
        outputs = [*channels[1:], math.prod(parameter_shape[:-2])]
        heights, widths = (halved(side, len(channels))[::-1] for side in parameter_shape[-2:])
        start = (channels[0], heights[0], widths[0])
        layers: list[nn.Module] = [dense_stack(latent, [math.prod(start)], activation), nn.Unflatten(-1, start)]
        for n, (inputs, output) in enumerate(zip(channels, outputs, strict=True)):
            extra = (1 - heights[n + 1] % 2, 1 - widths[n + 1] % 2)
            layers.append(nn.ConvTranspose2d(inputs, output, 3, stride=2, padding=1, output_padding=extra))
            if n + 1 < len(channels):
                layers.append(activation_named(activation))
        self.net = nn.Sequential(*layers)
        self.parameter_shape = parameter_shape

    def forward(self, z: Tensor) -> Tensor:
        parameters: Tensor = self.net(z)
        return parameters.reshape(-1, *self.parameter_shape)
