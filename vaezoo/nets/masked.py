"""Masked dense layers, and the autoregressive net made of them (MADE)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaezoo.core.errors import VaezooError
from vaezoo.nets.context import ContextStack
from vaezoo.nets.linear import linear


class MaskedLinear(nn.Linear):
    """A dense layer without some of its connections: (M * W) x + b. [..., inputs] -> [..., outputs]

    mask: M, [outputs, inputs], 1 where input and output are connected. It is a buffer that the constructor sets and
    no checkpoint stores. A masked weight has no effect and a gradient of exactly 0.

    Germain et al. (2015), arXiv:1502.03509.
    """

    mask: Tensor

    def __init__(self, mask: Tensor):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.mask * self.weight, self.bias)


class MADE(ContextStack):
    """The masked autoregressive net: output i is a function of the inputs before i, and of the context.

    [..., D], context [..., C] or None -> [..., outputs, D]

    Each hidden unit has a degree m and sees the inputs 1..m; output i sees the units with m < i. Degrees are spread
    evenly, from 0 where there is a context, which the first output may then use, else from 1. d output_i / d x_j is 0
    for j >= i (for j <= i with `reverse`).

    inputs: D. outputs: the numbers for each input. hidden: widths; a width of D or more has units of every degree.
    reverse: the last input comes first. Raises VaezooError where D or a width is below 1.

    Germain et al. (2015), arXiv:1502.03509.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int = 1,
        hidden: Sequence[int] = (64, 64),
        *,
        context: int = 0,
        activation: str = "relu",
        reverse: bool = False,
    ):
        if min(inputs, outputs, *hidden) < 1:
            raise VaezooError(
                f"MADE needs inputs, outputs and hidden widths of 1 or more, got {inputs}, {outputs}, {list(hidden)}"
            )
        order = torch.arange(1, inputs + 1)
        if reverse:
            order = order.flip(0)
        lowest = 0 if context or inputs == 1 else 1
        layers, seen = [], order
        for width in hidden:
            degrees = torch.linspace(lowest, inputs - 1, width).round()
            layers.append(MaskedLinear(degrees[:, None] >= seen))
            seen = degrees
        layers.append(MaskedLinear(order.repeat(outputs)[:, None] > seen))
        super().__init__(layers, activation, context=context)
        self.shape = (outputs, inputs)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        flat = super().forward(x, context)
        return flat.view(*flat.shape[:-1], *self.shape)
