"""The monotone rational-quadratic spline of each coordinate."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core.errors import VaezooError
from vaezoo.flows.transform import ElementwiseTransform


class SplineTransform(ElementwiseTransform):
    """A monotone rational-quadratic spline on [-bound, bound], with the identity outside as its linear tails.

    In the bin from (x0, y0), w wide and h high, with slope s = h / w, derivatives d0 and d1 at its ends, and
    t = (x - x0) / w:

        y = y0 + h (s t^2 + d0 t (1 - t)) / D,   D = s + (d0 + d1 - 2 s) t (1 - t)
        dy/dx = s^2 (d1 t^2 + 2 s t (1 - t) + d0 (1 - t)^2) / D^2

    params: `bins` numbers for the widths and `bins` for the heights, of which least + (1 - bins * least) * softmax is
    the share of each bin in the interval; then bins - 1 numbers r for the inner derivatives, d = least +
    softplus(r + c), where c makes d = 1 at r = 0. The outer derivatives are 1. In nats; x and bound in units of the
    latent.

    bins: 1 or more. bound: positive. least: positive, below 1 / bins. Raises VaezooError for others.

    Durkan et al. (2019), arXiv:1906.04032.
    """

    def __init__(self, bins: int = 8, *, bound: float = 5.0, least: float = 1e-3):
        if bins < 1 or not bound > 0 or not 0 < least < 1 / max(bins, 2):
            raise VaezooError(
                "SplineTransform needs 1 bin or more, a positive bound and a positive least below 1 / bins, "
                f"got {bins}, {bound} and {least}"
            )
        self.bins, self.bound, self.least = bins, bound, least
        self.width = 3 * bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The spline at x and log |dy/dx|, element by element. x [..., Z] -> both [..., Z]"""
        at = self._bin_of(x, params, given_y=False)
        t = (at.inside - at.x0) / at.w
        between = t * (1 - t)
        divisor = at.s + (at.d0 + at.d1 - 2 * at.s) * between
        y = at.y0 + at.h * (at.s * t.square() + at.d0 * between) / divisor
        return self._with_tails(x, y, at, t)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The x whose spline is y, and log |dy/dx| there. y [..., Z] -> both [..., Z]"""
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
        """The bin that each number lies in; a number outside is moved to the nearest bound first.

        A bin's numbers are taken by sums over a mask of 0 and 1, whose derivative is a product; that of an index is a
        slower scatter.
        """
        n, side = self.bins, 2 * self.bound
        params = params.to(given.dtype)
        shares = params[..., : 2 * n, :].view(*params.shape[:-2], 2, n, params.shape[-1]).softmax(-2)
        sizes = side * self.least + side * (1 - n * self.least) * shares  # widths and heights [..., 2, bins, Z]
        inside = given.clamp(-self.bound, self.bound)
        ends = sizes.detach()[..., int(given_y), :-1, :].cumsum(-2) - self.bound
        before = (ends <= inside[..., None, :]).to(params.dtype)  # 1 for the bins below the number's [..., bins - 1, Z]
        here = F.pad(before, (0, 0, 1, 0), value=1.0) - F.pad(before, (0, 0, 0, 1))  # 1 for its bin [..., bins, Z]
        x0, y0 = ((sizes[..., :-1, :] * before[..., None, :, :]).sum(-2) - self.bound).unbind(-2)
        w, h = (sizes * here[..., None, :, :]).sum(-2).unbind(-2)
        raw = params[..., 2 * n :, :]
        d0, d1 = (self._derivative((raw * mask).sum(-2)) for mask in (here[..., 1:, :], here[..., :-1, :]))
        return _Bin(inside, x0, y0, w, h, d0, d1, h / w)

    def _derivative(self, raw: Tensor) -> Tensor:
        """least + softplus(raw + c): 1 at raw = 0, also at the bounds, where the sum over the mask is 0."""
        return self.least + F.softplus(raw + math.log(math.expm1(1 - self.least)))


@dataclass
class _Bin:
    """A bin for each number: the number within the bounds, and x0, y0, w, h, d0, d1, s of the class's formula.
    [..., Z]"""

    inside: Tensor
    x0: Tensor
    y0: Tensor
    w: Tensor
    h: Tensor
    d0: Tensor
    d1: Tensor
    s: Tensor
