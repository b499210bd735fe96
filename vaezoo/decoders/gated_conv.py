"""The gated convolutional decoder."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Decoder
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.nets.conv import check_channels, halved
from vaezoo.nets.upsampling import gated_upsampling
from vaezoo.registry import register


@register.decoder(
    "gated-conv", paper="van den Berg et al. (2018), arXiv:1803.05649; Tomczak and Welling (2018), arXiv:1705.07120"
)
class GatedConv(Decoder):
    """Mirror of the encoder `gated-conv`: a gated dense layer, gated transposed convolutions of stride 2 to `channels`,
    and a transposed convolution of stride 2 to the parameters.

    [N, Z] -> [N, *parameter_shape], whose last two axes are height and width. kernel: an odd side length. Raises Skip
    for data that are not images.
    """

    def __init__(
        self,
        latent: int,
        parameter_shape: tuple[int, ...],
        *,
        channels: tuple[int, ...] = (64, 32),
        kernel: int = 5,
    ):
        super().__init__()
        check_channels(channels)
        if kernel < 1 or kernel % 2 == 0:
            raise VaezooError(f"kernel must be an odd side length, got {kernel}")
        if len(parameter_shape) < 3:
            raise Skip(f"decoder 'gated-conv' needs images [channels, height, width], got {list(parameter_shape)}")
        height, columns = parameter_shape[-2:]
        outputs, extra = math.prod(parameter_shape[:-2]), (1 - height % 2, 1 - columns % 2)
        self.net = nn.Sequential(
            gated_upsampling(latent, channels, (halved(height, 1)[-1], halved(columns, 1)[-1]), kernel),
            nn.ConvTranspose2d(channels[-1], outputs, kernel, stride=2, padding=kernel // 2, output_padding=extra),
        )
        self.parameter_shape = parameter_shape

    def forward(self, z: Tensor) -> Tensor:
        parameters: Tensor = self.net(z)
        return parameters.reshape(-1, *self.parameter_shape)
