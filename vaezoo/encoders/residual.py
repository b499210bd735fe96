"""The encoder of a deep convolutional hierarchy."""

from torch import Tensor, nn

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.nets.conv import halved
from vaezoo.nets.resnet import ResidualBlock2d
from vaezoo.registry import register


@register.encoder("residual", paper="He et al. (2016), arXiv:1603.05027")
class Residual(Encoder):
    """A 3x3 convolution of stride 2, then residual blocks. [B, C, H, W] -> [B, width, ceil(H / 2), ceil(W / 2)]

    The features stay an image. blocks: their number. Raises Skip for data that are not images.
    """

    def __init__(self, spec: DataSpec, *, width: int = 16, blocks: int = 2, activation: str = "silu"):
        super().__init__()
        if len(spec.shape) != 3:
            raise Skip(f"encoder 'residual' needs images [channels, height, width], got {list(spec.shape)}")
        if width < 1 or blocks < 0:
            raise VaezooError(f"width must be 1 or more and blocks 0 or more, got {width} and {blocks}")
        inputs, height, columns = spec.shape
        layers: list[nn.Module] = [ResidualBlock2d(width, activation=activation) for _ in range(blocks)]
        self.net = nn.Sequential(nn.Conv2d(inputs, width, 3, stride=2, padding=1), *layers)
        self.features = (width, halved(height, 1)[-1], halved(columns, 1)[-1])

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x)
        return features
