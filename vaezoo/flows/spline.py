"""The monotone rational-quadratic spline of one number."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core.errors import VaezooError
from vaezoo.flows.transform import ElementwiseTransform, softclip


class SplineTransform(ElementwiseTransform):
    """A monotone rational-quadratic spline on [-bound, bound], with the identity outside as its linear tails.

    In the bin from (x0, y0), w wide and h high, with slope s = h / w, derivatives d0 and d1 at its ends, and
    t = (x - x0) / w:

        y = y0 + h (s t^2 + d0 t (1 - t)) / D,   D = s + (d0 + d1 - 2 s) t (1 - t)
        dy/dx = s^2 (d1 t^2 + 2 s t (1 - t) + d0 (1 - t)^2) / D^2

    params: `bins` widths and `bins` heights before their softmax, and the logarithms of the bins - 1 inner derivatives;
    the outer ones are 1. All are clipped softly, so that derivatives lie between `slope` and 1 / slope, and no bin is
    narrower than `slope` times another one. In nats; x and bound in units of the latent.

    bins: 1 or more. bound: positive. slope: between 0 and 1. Raises VaezooError for others.

    Durkan et al. (2019), arXiv:1906.04032.
    """

    def __init__(self, bins: int = 8, *, bound: float = 5.0, slope: float = 1e-3):
        if bins < 1 or not bound > 0 or not 0 < slope < 1:
            raise VaezooError(
                "SplineTransform needs 1 bin or more, a positive bound and a slope between 0 and 1, "
                f"got {bins}, {bound} and {slope}"
            )
        self.bins, self.bound, self.slope = bins, bound, slope
        self.width = 3 * bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        at = self._bin_of(x, params, given_y=False)
        t = (at.inside - at.x0) / at.w
        between = t * (1 - t)
        divisor = at.s + (at.d0 + at.d1 - 2 * at.s) * between
        y = at.y0 + at.h * (at.s * t.square() + at.d0 * between) / divisor
        return self._with_tails(x, y, at, t)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        at = self._bin_of(y, params, given_y=True)
        above = at.inside - at.y0
        bend = above * (at.d0 + at.d1 - 2 * at.s)
        a, b, c = at.h * (at.s - at.d0) + bend, at.h * at.d0 - bend, -at.s * above
        t = 2 * c / (-b - (b.square() - 4 * a * c).sqrt())
        return self._with_tails(y, at.x0 + t * at.w, at, t)

    def _with_tails(self, given: Tensor, found: Tensor, at: "_Bin", t: Tensor) -> tuple[Tensor, Tensor]:
        """The point and log dy/dx, of the spline inside the bounds and of the identity outside."""
        between = t * (1 - t)
        divisor = at.s + (at.d0 + at.d1 - 2 * at.s) * between
        slope = at.d1 * t.square() + 2 * at.s * between + at.d0 * (1 - t).square()
        log_derivative = 2 * (at.s.log() - divisor.log()) + slope.log()
        within = given.abs() <= self.bound
        return torch.where(within, found, given), torch.where(within, log_derivative, 0.0)

    def _bin_of(self, given: Tensor, params: Tensor, given_y: bool) -> "_Bin":
        """The bin that each number lies in; a number outside is moved to the nearest bound first."""
        limit = -math.log(self.slope)
        n = self.bins
        raw_sizes, raw_derivatives = (params[..., :n], params[..., n : 2 * n]), params[..., 2 * n :]
        widths, heights = (2 * self.bound * softclip(raw, limit / 2).softmax(-1) for raw in raw_sizes)
        xs, ys = (F.pad(sizes[..., :-1].cumsum(-1), (1, 0)) - self.bound for sizes in (widths, heights))
        derivatives = F.pad(softclip(raw_derivatives, limit), (1, 1)).exp()
        inside = given.clamp(-self.bound, self.bound)
        number = ((ys if given_y else xs)[..., 1:] <= inside[..., None]).sum(-1, keepdim=True)
        tables = (xs, ys, widths, heights, derivatives[..., :-1], derivatives[..., 1:])
        return _Bin(inside, *(_taken(table, number) for table in tables))


@dataclass
class _Bin:
    """A bin for each number: the number within the bounds, and x0, y0, w, h, d0, d1 of the class's formula. [...]"""

    inside: Tensor
    x0: Tensor
    y0: Tensor
    w: Tensor
    h: Tensor
    d0: Tensor
    d1: Tensor

    @property
    def s(self) -> Tensor:
        """h / w"""
        return self.h / self.w


def _taken(table: Tensor, number: Tensor) -> Tensor:
    """The entry of each number's bin. [..., bins], [..., 1] -> [...]"""
    return table.expand(*number.shape[:-1], table.shape[-1]).gather(-1, number).squeeze(-1)
