"""Gated layers: a linear map multiplied by the sigmoid of another one."""

from typing import cast

from torch import Tensor, nn

from vaezoo.nets.dense import activation_named
from vaezoo.nets.linear import Linear


def gated(both: Tensor, activation: nn.Module | None, dim: int) -> Tensor:
    """a(h) * sigmoid(g), where h and g are the halves of `both` along `dim`; a is the identity for None."""
    value, gate = both.chunk(2, dim)
    if activation is not None:
        value = activation(value)
    return value * gate.sigmoid()


class GatedLinear(nn.Module):
    """A gated dense layer: a(V x + b) * sigmoid(W x + c). [..., inputs] -> [..., outputs]

    activation: the name of a; None is the identity, which makes it the gated linear unit. V and W are the two halves of
    one matrix, so that there is one product.

    Dauphin et al. (2017), arXiv:1612.08083; used in VAEs by Tomczak and Welling (2018), arXiv:1705.07120.
    """

    def __init__(self, inputs: int, outputs: int, *, activation: str | None = None):
        super().__init__()
        self.both = Linear(inputs, 2 * outputs)
        self.activation = None if activation is None else activation_named(activation)

    def forward(self, x: Tensor) -> Tensor:
        return gated(self.both(x), self.activation, -1)


class GatedConv2d(nn.Module):
    """A gated convolution: a(V * x + b) sigmoid(W * x + c), where * convolves.
    [B, inputs, H, W] -> [B, outputs, ceil(H / stride), ceil(W / stride)]

    kernel: an odd side length; the padding is (kernel - 1) / 2. activation: the name of a; None is the identity.

    van den Oord et al. (2016), arXiv:1606.05328; Dauphin et al. (2017), arXiv:1612.08083.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, activation: str | None = None):
        super().__init__()
        self.both = nn.Conv2d(inputs, 2 * outputs, kernel, stride=stride, padding=kernel // 2)
        self.activation = None if activation is None else activation_named(activation)

    def forward(self, x: Tensor) -> Tensor:
        return gated(self.both(x), self.activation, -3)


class GatedConvTranspose2d(nn.Module):
    """A gated transposed convolution of stride 2, from `halved(side, 1)` back to `side`.
    [B, inputs, ceil(H / 2), ceil(W / 2)] -> [B, outputs, H, W]

    size: (H, W), any two sides. kernel: an odd side length. activation: the name of a; None is the identity.
    """

    def __init__(
        self, inputs: int, outputs: int, size: tuple[int, int], kernel: int = 3, *, activation: str | None = None
    ):
        super().__init__()
        extra = cast(tuple[int, int], tuple(1 - side % 2 for side in size))
        self.both = nn.ConvTranspose2d(inputs, 2 * outputs, kernel, stride=2, padding=kernel // 2, output_padding=extra)
        self.activation = None if activation is None else activation_named(activation)

    def forward(self, x: Tensor) -> Tensor:
        return gated(self.both(x), self.activation, -3)
