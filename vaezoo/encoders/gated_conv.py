"""The gated convolutional encoder."""

from torch import Tensor, nn

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.nets.conv import check_channels, halved
from vaezoo.nets.gated import GatedConv2d, GatedLinear
from vaezoo.registry import register


@register.encoder(
    "gated-conv", paper="van den Berg et al. (2018), arXiv:1803.05649; Tomczak and Welling (2018), arXiv:1705.07120"
)
class GatedConv(Encoder):
    """One gated convolution of stride 2 for each of `channels`, then one gated dense layer. [B, C, H, W] -> [B, width]

    Each gives h * sigmoid(g), with h and g linear in what it gets. Each convolution halves the sides, rounded up, so
    that any size fits. kernel: an odd side length. Raises Skip for data that are not images.
    """

    def __init__(self, spec: DataSpec, *, channels: tuple[int, ...] = (32, 64), kernel: int = 5, width: int = 256):
        super().__init__()
        check_channels(channels)
        if kernel < 1 or kernel % 2 == 0:
            raise VaezooError(f"kernel must be an odd side length, got {kernel}")
        if len(spec.shape) != 3:
            raise Skip(f"encoder 'gated-conv' needs images [channels, height, width], got {list(spec.shape)}")
        inputs, height, columns = spec.shape
        layers: list[nn.Module] = []
        for outputs in channels:
            layers.append(GatedConv2d(inputs, outputs, kernel, stride=2))
            inputs = outputs
        sides = halved(height, len(channels))[-1], halved(columns, len(channels))[-1]
        self.net = nn.Sequential(*layers, nn.Flatten(), GatedLinear(inputs * sides[0] * sides[1], width))
        self.features = (width,)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x)
        return features
