"""The convolutional encoder."""

from torch import Tensor, nn

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip
from vaezoo.nets.conv import check_channels, halved
from vaezoo.nets.dense import activation_named, dense_stack
from vaezoo.registry import register


@register.encoder("conv")
class Conv(Encoder):
    """One 3x3 convolution of stride 2 for each of `channels`, then one dense layer. [B, C, H, W] -> [B, width]

    Each convolution halves the sides, rounded up, so that any size fits (8x8, 28x28, 32x32x3). Raises Skip for data
    that are not images.
    """

    def __init__(
        self, spec: DataSpec, *, channels: tuple[int, ...] = (32, 64), width: int = 256, activation: str = "relu"
    ):
        super().__init__()
        check_channels(channels)
        if len(spec.shape) != 3:
            raise Skip(f"encoder 'conv' needs images [channels, height, width], got {list(spec.shape)}")
        inputs, height, rows = spec.shape
        layers: list[nn.Module] = []
        for outputs in channels:
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), activation_named(activation)]
            inputs = outputs
        sides = halved(height, len(channels))[-1], halved(rows, len(channels))[-1]
        self.net = nn.Sequential(*layers, nn.Flatten(), dense_stack(inputs * sides[0] * sides[1], [width], activation))
        self.features = (width,)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x)
        return features
