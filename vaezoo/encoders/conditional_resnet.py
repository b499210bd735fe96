"""The residual encoder of a conditional model."""

from torch import Tensor

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.encoders.resnet import ResNet
from vaezoo.nets.context_channels import as_channels, with_channels
from vaezoo.registry import register


@register.encoder("conditional-resnet", paper="Sohn et al. (2015), NeurIPS")
class ConditionalResNet(Encoder):
    """The encoder `resnet` of an image whose context stands at each pixel as further channels, for q(z|x, context).
    [B, C, H, W], [B, C'] -> [B, width]

    Equals `resnet` where the weights of the context's channels are 0. The builder skips images without
    context; raises Skip for data that are not images.
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
        self.net = ResNet(with_channels(spec), channels=channels, blocks=blocks, width=width, activation=activation)
        self.features = self.net.features

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        features: Tensor = self.net(as_channels(x, context))
        return features
