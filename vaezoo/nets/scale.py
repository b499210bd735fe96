"""The scale of a density about a location: fixed, learned, or given by the decoder for each pixel."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core.errors import VaezooError

Kind = Literal["fixed", "learned", "per-pixel"]
"""fixed: the initial one. learned: a parameter, one for all pixels. per-pixel: the decoder's second output."""
KindOrOptimal = Literal["fixed", "learned", "per-pixel", "optimal"]
"""optimal: a buffer that its owner's `refit` writes after each epoch."""


class Scale(nn.Module):
    """A positive scale, at least `floor`, so that a density stays bounded on images with constant pixels.

    learned: floor + softplus(raw) with one parameter raw, which starts at `initial`. per-pixel: floor + softplus(raw +
    r), where r is the decoder's second output, so that a decoder that gives 0 starts at `initial`. fixed and optimal:
    the buffer `held`.

    floor, initial: 0 < floor < initial, else VaezooError, in which they have the given names.
    """

    def __init__(self, kind: KindOrOptimal, initial: float, floor: float, names: tuple[str, str]):
        super().__init__()
        if not 0 < floor < initial < math.inf:
            low, start = names[1], names[0]
            raise VaezooError(f"0 < {low} < {start} is needed, got {low}={floor}, {start}={initial}")
        self.kind, self.floor = kind, floor
        raw = math.log(math.expm1(initial - floor)) if initial - floor < 30 else initial - floor
        self.raw: Tensor
        self.held: Tensor
        if kind == "learned":
            self.raw = nn.Parameter(torch.tensor(raw))
        elif kind == "per-pixel":
            self.start = raw
        else:
            self.register_buffer("held", torch.tensor(float(initial)))

    def parameter_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one image's parameters: that of the image, or two of them."""
        return (2, *shape) if self.kind == "per-pixel" else shape

    def forward(self, parameters: Tensor, axes: int) -> tuple[Tensor, Tensor]:
        """Location and scale. [..., *parameter_shape] -> [..., *shape] and what broadcasts to it. axes: of an image."""
        if self.kind == "per-pixel":
            location, raw = parameters.unbind(parameters.ndim - axes - 1)
            return location, self.floor + F.softplus(raw + self.start)
        return parameters, self.floor + F.softplus(self.raw) if self.kind == "learned" else self.held

    @torch.no_grad()
    def hold(self, value: Tensor) -> None:
        """Write the scale of the kind `optimal`, or the floor where that is larger."""
        self.held.copy_(value.clamp(min=self.floor))
