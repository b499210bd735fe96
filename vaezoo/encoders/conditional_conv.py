"""The convolutional encoder of a conditional model."""

from torch import Tensor

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.encoders.conv import Conv
from vaezoo.nets.context_channels import as_channels, with_channels
from vaezoo.registry import register


@register.encoder("conditional-conv", paper="Sohn et al. (2015), NeurIPS")
class ConditionalConv(Encoder):
    """The encoder `conv` of an image whose context stands at each pixel as further channels, for q(z|x, context).
    [B, C, H, W], [B, C'] -> [B, width]

    Equals `conv` where the weights of the context's channels are 0. The builder skips images without
    context; raises Skip for data that are not images.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        channels: tuple[int, ...] = (32, 64),
        width: int = 256,
        activation: str = "relu",
    ):
        super().__init__()
        self.net = Conv(with_channels(spec), channels=channels, width=width, activation=activation)
        self.features = self.net.features

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        features: Tensor = self.net(as_channels(x, context))
        return features
