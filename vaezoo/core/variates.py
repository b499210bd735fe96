"""Numbers of each distribution as functions of random 64-bit words. `vaezoo.core.noise` makes the words.

A loop here has a fixed number of rounds and no branch looks at a value, so that `torch.func.vmap` can map the draws and
a step that draws can be replayed. Gamma, categorical and Poisson numbers are computed in float64, so that a model in
float32 gets the numbers of one in float64, rounded.
"""

import math
from typing import Any

import torch
from torch import Tensor

from vaezoo.core import compiled
from vaezoo.core.own_operators import mapped, operator

LOOP = "vaezoo.core._normals_loop"
"""The module whose loop makes normal numbers of float32 on a CPU: as exact as the operators', rounded otherwise."""
PIECE = 2**12
"""The words of which a thread of the loop makes numbers before it stores them."""
GAMMA_ROUNDS = 8
"""Proposals for each gamma number. One is rejected with probability 0.0484 or less (the most at concentration 1), all
with 3e-11 or less; the number is then concentration - 1/3, close to the mode.
"""
POISSON_BISECTIONS = 5
"""Halvings of the interval of 2^5 whole numbers around the normal approximation in which a Poisson quantile lies."""


def normals(word: Tensor, dtype: torch.dtype) -> Tensor:
    """Two standard normal numbers of each word. int64 [..., W] -> [..., 2 W]

    Box and Muller (1958) on 40 + 24 bits of each word: |eps| reaches 7.5, and float32 gets the numbers of float64,
    rounded. They depend neither on the other words nor on the number of threads; mapped by `torch.vmap` they are the
    same.
    """
    if dtype is torch.float32 and _loop_takes(word):
        return _normals_by_loop(word)
    high = (word >> 24).bitwise_and_((1 << 40) - 1)
    radius = high.to(dtype).add_(0.5).mul_(2.0**-40).log_().mul_(-2).sqrt_()
    angle = (word & ((1 << 24) - 1)).to(dtype).mul_(2 * math.pi * 2.0**-24)
    return torch.cat([radius * angle.cos(), angle.sin_().mul_(radius)], -1)


def _loop_takes(word: Tensor) -> bool:
    """Whether words are on a CPU, no compiler looks at them, and there is a loop."""
    plain = type(word) is Tensor and word.device.type == "cpu" and word.numel() > 0
    return plain and not torch.compiler.is_compiling() and compiled.loop(LOOP) is not None


@operator("normals(Tensor word) -> Tensor")
def _normals_by_loop(word: Tensor) -> Tensor:
    """`normals`, as an operator of torch."""
    loop = compiled.loop(LOOP)
    assert loop is not None
    assert word.dtype == torch.int64
    word = word.contiguous()
    *shape, length = word.shape
    made = word.new_empty(*shape, 2 * length, dtype=torch.float32)
    pieces = max(1, min(torch.get_num_threads(), word.numel() // PIECE))
    memory = made.new_empty(pieces, 2, PIECE)
    loop(word.data_ptr(), made.data_ptr(), memory.data_ptr(), word.numel() // length, length, pieces)
    return made


mapped(_normals_by_loop, lambda info, axes, word: (_normals_by_loop(word.movedim(axes[0], 0)), 0))


def uniforms(word: Tensor, dtype: torch.dtype) -> Tensor:
    """Two numbers of each word, uniform in (0, 1) on a grid of 2^-23, never 0 or 1. int64 [..., W] -> [..., 2 W]"""
    mask = (1 << 23) - 1
    both = torch.cat([(word >> 41) & mask, (word >> 18) & mask], -1)
    return both.to(dtype).add(0.5).mul(2.0**-23)


def fine_uniforms(word: Tensor) -> Tensor:
    """A float64 number of each word, uniform in (0, 1) on a grid of 2^-52, never 0 or 1. int64 [..., W] -> [..., W]"""
    return ((word >> 12) & ((1 << 52) - 1)).double().add(0.5).mul(2.0**-52)


def gammas(concentration: Tensor, normal: Tensor, uniform: Tensor, boost: Tensor) -> Tensor:
    """Gamma(concentration, rate 1) numbers by the rejection of Marsaglia and Tsang (2000). All float64.

    The first accepted of R proposals d (1 + c x)^3, with d = a - 1/3, c = 1 / sqrt(9 d) and x normal. Below
    concentration 1 it is a draw at concentration + 1 times boost^(1 / concentration). NaN where the concentration is
    not above 0.

    concentration: [...]. normal, uniform: [..., R]. boost: uniform [...].
    """
    small = concentration < 1
    d = torch.where(small, concentration + 1, concentration) - 1 / 3
    wide = d.unsqueeze(-1)
    root = 1 + normal / (9 * wide).sqrt()
    cubes = root.clamp(min=1e-9).pow(3)
    accepted = (root > 0) & (uniform.log() < 0.5 * normal.square() + wide * (1 - cubes + cubes.log()))
    factor = torch.ones_like(concentration)
    for cube, takes in zip(reversed(cubes.unbind(-1)), reversed(accepted.unbind(-1)), strict=True):
        factor = torch.where(takes, cube, factor)
    scale = torch.where(small, boost.log() / concentration, 0.0).exp()
    return torch.where(concentration > 0, d * factor * scale, math.nan)


class GammaNumbers(torch.autograd.Function):
    """float64 gamma numbers in the dtype of their concentration, with its gradient `gamma_slope`. [...], [...] -> [...]

    It has no forward rule and no second derivative, so torch refuses those instead of giving wrong numbers.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(concentration: Tensor, value: Tensor) -> Tensor:
        """The numbers, rounded, and at least the smallest normal number, so that their logarithm is finite."""
        return value.to(concentration.dtype).clamp(min=torch.finfo(concentration.dtype).tiny)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Saves both for the gradient."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """By the concentration. The value is held fixed."""
        concentration, value = ctx.saved_tensors
        return grad * gamma_slope(concentration.double(), value).to(grad), None


def gamma_slope(concentration: Tensor, value: Tensor) -> Tensor:
    """dz/da of z = F^-1(u; a), the quantile of Gamma(a, 1) whose u is held fixed: -(dF/da) / f(z; a). float64 [...]

    Figurnov et al. (2018), arXiv:1805.08498. dF/da is a central difference of the incomplete gamma function, of the
    tail on the side of z, so that nothing cancels. (torch's private `_standard_gamma_grad` is less exact in the tails,
    and `vmap` maps it by a loop.)
    """
    a, z = concentration, value.clamp(min=torch.finfo(torch.float64).tiny)
    h = 3e-5 * a / (1 + a).sqrt()
    below = torch.special.gammainc(a + h, z) - torch.special.gammainc(a - h, z)
    above = torch.special.gammaincc(a - h, z) - torch.special.gammaincc(a + h, z)
    log_density = (a - 1) * z.log() - z - torch.lgamma(a)
    return torch.where(z < a, below, above) / (-2 * h) * (-log_density).exp()


def categories(logits: Tensor, uniform: Tensor) -> Tensor:
    """Numbers of classes, drawn with probability softmax(logits), by inverse CDF. [..., C], [...] -> int64 [...]

    A class of logit -infinity is never drawn.
    """
    edges = logits.double().softmax(-1).cumsum(-1)
    edges = edges / edges[..., -1:]
    return (uniform.unsqueeze(-1) >= edges).sum(-1).clamp(max=logits.shape[-1] - 1)


def poissons(rate: Tensor, uniform: Tensor) -> Tensor:
    """Poisson(rate) numbers: the smallest k with P(X <= k) >= u. float64 [...], [...] -> float64 [...]

    P(X <= k) = Q(k + 1, rate) is the incomplete gamma function. The normal approximation with its first correction
    (Cornish and Fisher 1938) is at most 11 above k and 6 below it, at any rate and any u of `fine_uniforms`; k is
    found by bisection from there. NaN where the rate is below 0 or not finite. Exact up to rates of 10^6; beyond, and
    more than 4.5 standard deviations above the mean, torch's function is inexact and k off by at most 16.
    """
    normal = torch.special.ndtri(uniform)
    guess = rate + rate.sqrt() * normal + (normal.square() - 1) / 6
    low = (guess.floor() - 2 ** (POISSON_BISECTIONS - 1)).clamp(min=-1)  # P(X <= low) < u <= P(X <= high)
    high = low + 2**POISSON_BISECTIONS
    for _ in range(POISSON_BISECTIONS):
        middle = ((low + high) / 2).floor()
        reached = torch.special.gammaincc(middle + 1, rate) >= uniform
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return torch.where((rate >= 0) & (rate < math.inf), high, math.nan)
