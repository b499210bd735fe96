"""Residual blocks of convolutions that keep, halve or double an image, of any size."""

import torch
from torch import Tensor, nn

from vaezoo.nets.dense import activation_named


class ResidualBlock2d(nn.Module):
    """x + F(x), F = activation, 3x3 convolution, activation, 3x3 convolution. [B, C, H, W] -> [B, C, H, W]

    The identity at initialisation: the last convolution starts at zero, so that a stack of any depth, without
    normalisation, starts with the variance of its input.

    He et al. (2016), arXiv:1603.05027; the zero start: Zhang et al. (2019), arXiv:1901.09321.
    """

    def __init__(self, channels: int, *, activation: str = "relu"):
        super().__init__()
        self.residual = nn.Sequential(
            activation_named(activation),
            nn.Conv2d(channels, channels, 3, padding=1),
            activation_named(activation),
            zero(nn.Conv2d(channels, channels, 3, padding=1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = x + self.residual(x)
        return total


class DownBlock2d(nn.Module):
    """A residual block that halves the sides. [B, inputs, H, W] -> [B, outputs, ceil(H / 2), ceil(W / 2)]

    P(x) + F(x): P is the mean over 2x2 pixels, then a 1x1 convolution; F is activation, 3x3 convolution of stride 2,
    activation, 3x3 convolution. P alone at initialisation. The sides are those of `halved`; at an odd side the last
    mean is over the pixels that are there.

    He et al. (2016), arXiv:1603.05027.
    """

    def __init__(self, inputs: int, outputs: int, *, activation: str = "relu"):
        super().__init__()
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(inputs, outputs, 1))
        self.residual = nn.Sequential(
            activation_named(activation),
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
            activation_named(activation),
            zero(nn.Conv2d(outputs, outputs, 3, padding=1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.shortcut(x) + self.residual(x)
        return total


class UpBlock2d(nn.Module):
    """A residual block that doubles the sides, the mirror of `DownBlock2d`.
    [B, inputs, ceil(H / 2), ceil(W / 2)] -> [B, outputs, H, W]

    P(x) + F(x): P is a 1x1 convolution, then each pixel repeated 2x2; F is activation, repetition, 3x3 convolution,
    activation, 3x3 convolution. P alone at initialisation. size: (H, W), any two sides.

    He et al. (2016), arXiv:1603.05027. Repetition before a convolution: Odena et al. (2016),
    doi:10.23915/distill.00003.
    """

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], *, activation: str = "relu"):
        super().__init__()
        self.size = size
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.before = activation_named(activation)
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            activation_named(activation),
            zero(nn.Conv2d(outputs, outputs, 3, padding=1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = doubled(self.shortcut(x), self.size) + self.residual(doubled(self.before(x), self.size))
        return total


def doubled(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Each pixel repeated 2x2, cut to `size`. [..., ceil(H / 2), ceil(W / 2)] -> [..., H, W]"""
    height, width = x.shape[-2:]
    repeated = x[..., :, None, :, None].expand(*x.shape[:-2], height, 2, width, 2)
    return repeated.reshape(*x.shape[:-2], 2 * height, 2 * width)[..., : size[0], : size[1]]


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer, with weights and bias set to 0."""
    torch.nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        torch.nn.init.zeros_(layer.bias)
    return layer
