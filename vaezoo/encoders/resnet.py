"""The residual encoder."""

from torch import Tensor, nn

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.nets.conv import check_channels, halved
from vaezoo.nets.dense import activation_named, dense_stack
from vaezoo.nets.resnet import DownBlock2d, ResidualBlock2d
from vaezoo.registry import register


@register.encoder("resnet", paper="He et al. (2016), arXiv:1603.05027")
class ResNet(Encoder):
    """A 3x3 convolution, then for each of `channels` a residual block that halves the sides and `blocks` that keep
    them, then one dense layer. [B, C, H, W] -> [B, width]

    Without normalisation: a residual starts at 0 (`vaezoo/nets/resnet.py`), so at the start the map is its shortcuts
    and the dense layer. The sides are halved rounded up, so that any size fits. Raises Skip for data that are not
    images.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        channels: tuple[int, ...] = (16, 32),
        blocks: int = 1,
        width: int = 256,
        activation: str = "silu",
    ):
        super().__init__()
        check_channels(channels)
        if blocks < 0:
            raise VaezooError(f"blocks must be 0 or more, got {blocks}")
        if len(spec.shape) != 3:
            raise Skip(f"encoder 'resnet' needs images [channels, height, width], got {list(spec.shape)}")
        inputs, height, columns = spec.shape
        layers: list[nn.Module] = [nn.Conv2d(inputs, channels[0], 3, padding=1)]
        before = channels[0]
        for outputs in channels:
            layers.append(DownBlock2d(before, outputs, activation=activation))
            layers += [ResidualBlock2d(outputs, activation=activation) for _ in range(blocks)]
            before = outputs
        layers += [activation_named(activation), nn.Flatten()]
        sides = halved(height, len(channels))[-1], halved(columns, len(channels))[-1]
        self.net = nn.Sequential(*layers, dense_stack(before * sides[0] * sides[1], [width], activation))
        self.features = (width,)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x)
        return features
