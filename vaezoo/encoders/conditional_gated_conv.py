"""The gated convolutional encoder of a conditional model."""

from torch import Tensor

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.encoders.gated_conv import GatedConv
from vaezoo.nets.context_channels import as_channels, with_channels
from vaezoo.registry import register


@register.encoder("conditional-gated-conv", paper="Sohn et al. (2015), NeurIPS")
class ConditionalGatedConv(Encoder):
    """The encoder `gated-conv` of an image whose context stands at each pixel as further channels, for q(z|x, context).
    [B, C, H, W], [B, C'] -> [B, width]

    Equals `gated-conv` where the weights of the context's channels are 0. The builder skips images without
    context; raises Skip for data that are not images.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        channels: tuple[int, ...] = (32, 64),
        kernel: int = 5,
        width: int = 256,
    ):
        super().__init__()
        self.net = GatedConv(with_channels(spec), channels=channels, kernel=kernel, width=width)
        self.features = self.net.features

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        features: Tensor = self.net(as_channels(x, context))
        return features
