"""From a vector to a feature map: gated transposed convolutions."""

from collections.abc import Sequence

from torch import nn

from vaezoo.nets.conv import halved
from vaezoo.nets.gated import GatedConvTranspose2d, GatedLinear


def gated_upsampling(inputs: int, channels: Sequence[int], size: tuple[int, int], kernel: int = 3) -> nn.Sequential:
    """A gated dense layer to channels[0] at the smallest sides, then a gated transposed convolution of stride 2 for
    each of channels[1:]. [N, inputs] -> [N, channels[-1], H, W]

    size: (H, W), any two sides. The sides on the way are those of `halved`.
    """
    heights, widths = (halved(side, len(channels) - 1)[::-1] for side in size)
    start = (channels[0], heights[0], widths[0])
    layers: list[nn.Module] = [GatedLinear(inputs, start[0] * start[1] * start[2]), nn.Unflatten(-1, start)]
    for n, outputs in enumerate(channels[1:]):
        layers.append(GatedConvTranspose2d(channels[n], outputs, (heights[n + 1], widths[n + 1]), kernel))
    return nn.Sequential(*layers)
