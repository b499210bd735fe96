"""The autoregressive convolutional decoder of a PixelVAE."""

import math

from torch import Tensor

from vaezoo.core.contracts import Decoder
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip
from vaezoo.nets.conv import check_channels
from vaezoo.nets.pixelcnn import GatedPixelCNN
from vaezoo.nets.upsampling import gated_upsampling
from vaezoo.registry import register


@register.decoder(
    "pixelcnn", paper="Gulrajani et al. (2017), arXiv:1611.05013; van den Oord et al. (2016), arXiv:1606.05328"
)
class PixelCNN(Decoder):
    """p(x|z) = prod_i p(x_i | x_1 .. x_{i-1}, z): a gated PixelCNN whose layers all see a feature map of z.

    Pixels are ordered row by row, and the channels of a pixel one after the other. Gated transposed convolutions to
    `channels`, then to `width`, make the feature map. A pixel sees `layers` * (kernel - 1) / 2 pixels to the sides
    and one more up, so that a small net leaves the global structure to z. d parameters_i / d x_j = 0 for j >= i, and
    the probabilities of all images sum to 1, for a likelihood whose pixels are independent given its parameters.

    Where the likelihood's parameters are those of whole pixels, [.., H, W], it may couple the channels of a pixel;
    these then do not see each other here, and are drawn together.

    [N, Z], x [N, C, H, W] -> [N, *parameter_shape]. Raises Skip for data that are not images, and for a likelihood
    whose parameters are not those of pixels.
    """

    autoregressive = True

    def __init__(
        self,
        spec: DataSpec,
        latent: int,
        parameter_shape: tuple[int, ...],
        *,
        width: int = 16,
        layers: int = 4,
        kernel: int = 3,
        channels: tuple[int, ...] = (32, 16),
    ):
        super().__init__()
        check_channels(channels)
        if len(spec.shape) != 3:
            raise Skip(f"decoder 'pixelcnn' needs images [channels, height, width], got {list(spec.shape)}")
        if tuple(parameter_shape[-2:]) != spec.shape[1:]:
            pixels = " x ".join(map(str, spec.shape[1:]))
            raise Skip(
                f"decoder 'pixelcnn' needs a likelihood with parameters for each of {pixels} pixels, "
                f"got {list(parameter_shape)}"
            )
        inputs, height, columns = spec.shape
        self.channels = inputs if tuple(parameter_shape[-3:]) == spec.shape else 1
        self.feature_map = gated_upsampling(latent, (*channels, width), (height, columns))
        self.net = GatedPixelCNN(
            inputs,
            math.prod(parameter_shape[:-2]),
            self.channels,
            width=width,
            layers=layers,
            kernel=kernel,
            context=width,
        )
        self.parameter_shape = parameter_shape

    def pixel_order(self, shape: tuple[int, ...]) -> Tensor:
        """Row by row, and each channel after the one before it; or all channels of a pixel together: [H W, C]"""
        order = super().pixel_order(shape)
        return order if self.channels == shape[0] else order.view(-1, shape[0])

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        parameters: Tensor = self.net(2 * x - 1, self.feature_map(z))
        return parameters.reshape(-1, *self.parameter_shape)
