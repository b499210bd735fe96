"""The gated PixelCNN: masked convolutions of which no output sees its own pixel or a later one.

Pixels are in the order of `Decoder.pixel_order`: row by row, and through the channels of each pixel. Letters: N images
[N, C, H, W]; feature f belongs to channel f mod C and may see the channels before it at its own pixel. With
`channels` = 1 for images of several, all features see the pixels before their own alone, in all channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core.errors import VaezooError
from vaezoo.nets.gated import gated


class MaskedConv2d(nn.Conv2d):
    """A convolution without some of its connections: (M * W) * x + b. [N, inputs, H, W] -> [N, outputs, H', W']

    mask: M, [outputs, inputs, h, w], 1 where they are connected. It is a buffer that the constructor sets and no
    checkpoint stores. A masked weight has no effect and a gradient of exactly 0. There is no padding.
    """

    mask: Tensor

    def __init__(self, mask: Tensor):
        super().__init__(mask.shape[1], mask.shape[0], (mask.shape[2], mask.shape[3]))
        self.register_buffer("mask", mask.to(self.weight), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.mask * self.weight, self.bias)


def channel_mask(inputs: int, outputs: int, channels: int, *, width: int = 1, own: bool) -> Tensor:
    """The mask of a row of pixels that ends at the output's own pixel. [outputs, inputs, 1, width]

    The pixels before it are connected to all outputs. At its own pixel an output of channel c is connected to inputs of
    the channels before c, and where `own`, of c too. Input i is of channel i mod C, and so is an output.
    """
    mask = torch.ones(outputs, inputs, 1, width)
    before, at = torch.arange(inputs) % channels, torch.arange(outputs)[:, None] % channels
    mask[:, :, 0, -1] = (before <= at if own else before < at).to(mask)
    return mask


class PixelCNNLayer(nn.Module):
    """One gated layer: a vertical stack, which sees the rows above, and a horizontal one, which sees the pixels before.

    v' = g(V * v + C_v c), h' = g(R * h + L down(V * v) + C_h c), and h' = h + O h' but in the first layer, with
    g(a, b) = tanh(a) sigmoid(b). V reaches k/2 rows up and k/2 columns to each side, R k/2 columns to the left; down
    shifts by one row, so that h sees the rows above only. Two stacks leave no blind spot.

    v, h [N, inputs, H, W] and c [N, context, H, W] -> v, h [N, width, H, W]. first: whether v and h are the image, of
    which h must not see its own value.

    van den Oord et al. (2016), arXiv:1606.05328.
    """

    def __init__(self, inputs: int, width: int, channels: int, kernel: int, context: int, *, first: bool):
        super().__init__()
        both = width + width  # value and gate; 2 width numbers of channel f mod C each
        side = kernel // 2
        self.vertical_padding, self.horizontal_padding = (side, side, side, 0), (side, 0, 0, 0)
        self.vertical = nn.Conv2d(inputs, both, (side + 1, kernel))
        half = channel_mask(inputs, width, channels, width=side + 1, own=not first)
        self.horizontal = MaskedConv2d(half.repeat(2, 1, 1, 1))
        self.down = nn.Conv2d(both, both, 1)
        self.from_context = nn.Conv2d(context, 2 * both, 1, bias=False)
        self.out = None if first else MaskedConv2d(channel_mask(width, width, channels, own=True))
        self.activation = nn.Tanh()

    def forward(self, v: Tensor, h: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The vertical and the horizontal stack after this layer. Each [N, width, H, W]"""
        by_context = self.from_context(context).chunk(2, 1)
        above = self.vertical(F.pad(v, self.vertical_padding))
        shifted = F.pad(above, (0, 0, 1, 0))[..., :-1, :]
        before = self.horizontal(F.pad(h, self.horizontal_padding)) + self.down(shifted)
        found = gated(before + by_context[1], self.activation, -3)
        return gated(above + by_context[0], self.activation, -3), found if self.out is None else h + self.out(found)


class GatedPixelCNN(nn.Module):
    """Parameters of each pixel and channel from those before it and a context. x [N, inputs, H, W],
    c [N, context, H, W] -> [N, outputs, H, W]; output j is of channel j mod C.

    channels: C, which is `inputs`, or 1 where the outputs are those of whole pixels and see no channel of their own.
    width: features of each layer, at least C. layers: their number, n; an output sees n (kernel - 1) / 2 pixels to the
    sides and one more up. kernel: an odd side length of 3 or more. Raises VaezooError for other sizes. SiLU in place of
    the paper's ReLU after the last layer: a channel has few features there, which must not die.

    van den Oord et al. (2016), arXiv:1606.05328.
    """

    def __init__(self, inputs: int, outputs: int, channels: int, *, width: int, layers: int, kernel: int, context: int):
        if width < channels or layers < 1:
            raise VaezooError(
                f"width must be {channels} or more, one for each channel, and layers 1 or more, "
                f"got {width} and {layers}"
            )
        if kernel < 3 or kernel % 2 == 0:
            raise VaezooError(f"kernel must be an odd side length of 3 or more, got {kernel}")
        super().__init__()
        self.layers = nn.ModuleList(
            PixelCNNLayer(width if n else inputs, width, channels, kernel, context, first=not n) for n in range(layers)
        )
        self.out = nn.Sequential(
            nn.SiLU(),
            MaskedConv2d(channel_mask(width, width, channels, own=True)),
            nn.SiLU(),
            MaskedConv2d(channel_mask(width, outputs, channels, own=True)),
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """The parameters of each pixel, given the pixels before it and the context. [N, C, H, W], [N, C', H, W] -> [N,
        outputs, H, W]
        """
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h, context)
        parameters: Tensor = self.out(h)
        return parameters
