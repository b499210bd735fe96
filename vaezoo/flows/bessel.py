"""The modified Bessel function of a sphere's von Mises-Fisher density, scaled so that nothing overflows.

With w the first coordinate of a uniform point on the unit sphere in R^Z, and concentration k >= 0:

    E[exp(k w)] = Gamma(Z/2) (2/k)^(Z/2 - 1) I_{Z/2 - 1}(k)

is 1 at k = 0. All is computed in float64 and rounded to the dtype of k.
"""

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

LARGE_ORDER = 50.0
"""From this order on the uniform expansion is exact to 1e-12; lower orders follow from it by recurrence."""
TERMS = 6
"""Terms of the uniform expansion after the first."""

SERIES = 12
"""Terms of the series of the variance at large k."""


def _expansion_polynomials() -> list[list[float]]:
    """The coefficients of u_1(p) .. u_TERMS(p), by their powers of p (Abramowitz and Stegun, 9.3.9 and 9.3.10).

    u_{n+1}(p) = p^2 (1 - p^2) u_n'(p) / 2 + 1/8 int_0^p (1 - 5 t^2) u_n(t) dt, with u_0 = 1.
    """
    found = [[Fraction(1)]]
    for _ in range(TERMS):
        following = [Fraction(0)] * (len(found[-1]) + 3)
        for power, value in enumerate(found[-1]):
            following[power + 1] += value * Fraction(power, 2) + value / (8 * (power + 1))
            following[power + 3] -= value * Fraction(power, 2) + 5 * value / (8 * (power + 3))
        found.append(following)
    return [[float(value) for value in each] for each in found[1:]]


POLYNOMIALS = _expansion_polynomials()


def _corrections(order: float, p: Tensor) -> Tensor:
    """sum_n u_n(p) / order^n for n = 1 .. TERMS."""
    total = torch.zeros_like(p)
    for n, coefficients in enumerate(POLYNOMIALS, 1):
        value = torch.zeros_like(p)
        for coefficient in reversed(coefficients):
            value = value * p + coefficient
        total = total + value / order**n
    return total


def _at_large_order(order: float, k: Tensor) -> Tensor:
    """log(Gamma(order + 1) (2/k)^order I_order(k)) - k by the uniform expansion (ibid., 9.7.7). [...]

    With t = sqrt(order^2 + k^2) it is (t - order) - order log((order + t) / (2 order)) - log(t / order) / 2 and the
    corrections at p = order / t, less those at p = 1, so that it is exactly 0 at k = 0.
    """
    root = (order**2 + k.square()).sqrt()
    beyond = k * (k / (root + order))  # t - order
    shifted = order * (order / (root + k)) - order  # t - order - k
    main = shifted - order * torch.log1p(beyond / (2 * order)) - 0.5 * torch.log1p(beyond / order)
    corrections = [torch.log1p(_corrections(order, p)) for p in (order / root, torch.ones_like(k))]
    return main + corrections[0] - corrections[1]


def _normaliser_and_mean(k: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """log E[exp(k (w - 1))], and the mean of w under the density proportional to exp(k w). float64 [...]

    With f_v = E[exp(k w)] at Z = 2 v + 2, the ratios r_v = f_{v+1} / f_v follow from the order above,
    r_{v-1} = 1 / (1 + k^2 r_v / (4 v (v + 1))), which is stable, and the mean is k r_v / (2 (v + 1)).
    """
    order = size / 2 - 1
    steps = max(0, math.ceil(LARGE_ORDER - order))
    top = order + steps
    value = _at_large_order(top, k)
    ratio = (_at_large_order(top + 1, k) - value).exp()
    for n in range(steps):
        v = top - n
        ratio = 1 / (1 + k * (k * ratio / (4 * v * (v + 1))))
        value = value - ratio.log()
    return value, k * ratio / (2 * (order + 1))


def _variance(k: Tensor, mean: Tensor, size: int) -> Tensor:
    """1 - A^2 - (Z - 1) A / k of the mean A, and 1/Z at k = 0. float64 [...]

    Beyond k = 20 Z + 200, where this cancels, it is the derivative of the series A = 1 + sum_n c_n k^-n whose
    coefficients solve A' = 1 - A^2 - (Z - 1) A / k.
    """
    series = [1.0]
    for n in range(1, SERIES + 1):
        products = sum(series[i] * series[n - i] for i in range(1, n))
        series.append(0.5 * ((n - size) * series[n - 1] - products))
    limit = 20.0 * size + 200
    inverse = 1 / k.clamp(min=limit)
    far = torch.zeros_like(k)
    for n in range(SERIES, 0, -1):
        far = (far - n * series[n]) * inverse
    wide = k.clamp(min=1e-8)
    near = (1 - mean) * (1 + mean) - (size - 1) * mean / wide
    return torch.where(k > limit, far * inverse, torch.where(k < 1e-8, 1 / size, near))


class OfConcentration(torch.autograd.Function):
    """A function of k and Z with a gradient by k, also under torch.func.vmap."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        """Saves k for the gradient."""
        ctx.save_for_backward(inputs[0])
        ctx.size = inputs[1]


class LogNormaliser(OfConcentration):
    """log E[exp(k (w - 1))] over the unit sphere in R^Z, in nats. k [...], Z -> [...]

    It is 0 at k = 0 and falls to about -(Z - 1)/2 log k. Its derivative is the mean of w - 1, also to higher orders.
    """

    @staticmethod
    def forward(k: Tensor, size: int) -> Tensor:
        """The logarithm."""
        return _normaliser_and_mean(k.double(), size)[0].to(k.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """By k."""
        (k,) = ctx.saved_tensors
        return grad * (mean_cosine(k, ctx.size) - 1), None


class MeanCosine(OfConcentration):
    """The mean A of w under the density proportional to exp(k w): I_{Z/2}(k) / I_{Z/2 - 1}(k). k [...], Z -> [...]

    It rises from 0 to 1. Its derivative is the variance of w, 1 - A^2 - (Z - 1) A / k, and 1/Z at k = 0.
    """

    @staticmethod
    def forward(k: Tensor, size: int) -> Tensor:
        """The mean."""
        return _normaliser_and_mean(k.double(), size)[1].to(k.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """By k."""
        (k,) = ctx.saved_tensors
        wide = k.double()
        return grad * _variance(wide, mean_cosine(wide, ctx.size), ctx.size).to(grad.dtype), None


def log_normaliser(k: Tensor, size: int) -> Tensor:
    """log E[exp(k (w - 1))] over the unit sphere in R^size, in nats; see `LogNormaliser`. [...] -> [...]"""
    value: Tensor = LogNormaliser.apply(k, size)
    return value


def mean_cosine(k: Tensor, size: int) -> Tensor:
    """The mean of w under the density proportional to exp(k w) on that sphere; see `MeanCosine`. [...] -> [...]"""
    value: Tensor = MeanCosine.apply(k, size)
    return value
