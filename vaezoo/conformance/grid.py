"""Integrate a density over its whole space, in 1 and 2 dimensions, with a standard error; test samples against it."""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from vaezoo.conformance.verdict import NotRun, must, within_errors
from vaezoo.core.errors import Skip

FALSE_ALARM = 1e-6
"""Probability at which a right sampler fails a distribution test."""
COPIES = 12
NODES = {1: 250, 2: 100}
"""Dimensions -> the number of nodes of each copy of the grid along each axis."""
TOLERANCE, OF_BOUNDED = 0.001, 1e-4
"""How far an integral may be off besides its standard errors; that of a bounded density."""
POWERS = (1, 2, 3, 4)

Density = Callable[[Tensor], Tensor]
Case = TypeVar("Case")


def in_the_unit_interval(t: Tensor) -> tuple[Tensor, Tensor]:
    """z = t^3 / (t^3 + (1 - t)^3) in [0, 1] and dz/dt, of t in [0, 1]. [...] -> [...], [...]

    Nodes at even steps of t lie close near 0 and 1, where a density such as z^(-2/3) is infinite.
    """
    rest = 1 - t
    total = t**3 + rest**3
    return t**3 / total, 3 * (t * rest / total).square()


class Grid:
    """The probability that a density gives to each node of COPIES grids, which are shifted at random.

    The mean of the grids' sums estimates the integral without bias, also of a density with edges; their spread gives
    the standard error. The nodes are midpoints in t of z = centre + scale t / (1 - t^2), which reaches into heavy
    tails; of a bounded density they are midpoints in t of `in_the_unit_interval`.
    """

    def __init__(self, density: Density, samples: Tensor, bounded: bool = False):
        dimensions = samples.shape[1]
        nodes = NODES[dimensions]
        generator = torch.Generator().manual_seed(0)
        shift = torch.rand(COPIES, dimensions, 1, generator=generator, dtype=samples.dtype)
        t = 2 * (torch.arange(nodes, dtype=samples.dtype) + shift) / nodes - 1
        lower, self.centre, upper = torch.quantile(samples, torch.tensor([0.1, 0.5, 0.9], dtype=samples.dtype), dim=0)
        self.scale = (upper - lower).clamp(min=1e-3) / 2
        self.slack = OF_BOUNDED if bounded else TOLERANCE
        if bounded:
            self.nodes, slope = in_the_unit_interval((t + 1) / 2)
            weight = slope / nodes
        else:
            self.nodes = self.centre[:, None] + self.scale[:, None] * t / (1 - t**2)
            weight = self.scale[:, None] * 2 / nodes * (1 + t**2) / (1 - t**2) ** 2
        self.mass = torch.stack([self._mass(density, *each) for each in zip(self.nodes, weight, strict=True)])

    def _mass(self, density: Density, nodes: Tensor, weight: Tensor) -> Tensor:
        """The probability of each node, [nodes] or [nodes, nodes]. NaN, as a density may be far out, counts as 0."""
        points = torch.cartesian_prod(*nodes).view(-1, len(nodes))
        value = density(points).exp().nan_to_num(nan=0.0, posinf=math.inf)
        if len(nodes) == 1:
            return value * weight[0]
        return value.view(nodes.shape[1], -1) * weight[0][:, None] * weight[1]

    def expectation(self, function: Callable[..., Tensor]) -> tuple[float, float]:
        """Integral of the density times a function of the coordinates [nodes] or [nodes, 1] and [nodes], and its
        standard error.
        """
        found = []
        for nodes, mass in zip(self.nodes, self.mass, strict=True):
            axes = [nodes[0]] if len(nodes) == 1 else [nodes[0][:, None], nodes[1]]
            found.append(torch.where(mass > 0, mass * function(*axes), 0.0).sum())
        values = torch.stack(found)
        return float(values.mean()), float(values.std() / math.sqrt(COPIES))

    def integral(self, what: str) -> float:
        """The integral over the grid. Raises Wrong unless it is 1 within the slack and 6 standard errors, which
        a right density exceeds once in 10,000 times (Student's t with 11 degrees of freedom). Raises NotRun where 6
        standard errors are more than 0.1.
        """
        found, error = self.expectation(lambda *axes: torch.ones_like(axes[0]))
        if 6 * error > 0.1:
            raise NotRun(f"the grid is too coarse for this density: {found:.4f} +- {error:.2g}")
        slack = self.slack + 6 * error
        off = abs(found - 1)
        must(off <= slack, f"{found:.4g}", f"{what}: expected 1 +- {slack:.1g}, found {found:.6g}")
        return found

    def cumulative(self, axis: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Nodes of an axis in order, the distribution function at each, and the largest error of that function."""
        along = self.mass if self.mass.ndim == 2 else self.mass.sum(2 - axis)
        order = self.nodes[:, axis].flatten().argsort()
        mass = along.flatten()[order] / along.sum()
        spread = float(along.sum(1).std() / along.sum(1).mean())
        off = float(mass.max()) + 3 * spread / math.sqrt(COPIES)
        return self.nodes[:, axis].flatten()[order].numpy(), (mass.cumsum(0) - 0.5 * mass).numpy(), off

    def same_distribution(self, samples: Tensor) -> str:
        """Kolmogorov-Smirnov of each axis against the grid's own distribution, and 16 bounded mixed moments. Returns
        the smallest p-value.
        """
        least = 1.0
        for axis in range(samples.shape[1]):
            nodes, cumulative, slack = self.cumulative(axis)
            values = np.interp(samples[:, axis].numpy(), nodes, cumulative)
            distance = float(stats.kstest(values, "uniform").statistic) - slack
            least = min(least, float(stats.kstwo.sf(max(distance, 0.0), len(samples))))
            must(
                least > FALSE_ALARM,
                f"p = {least:.1g}",
                f"samples are not distributed as the density says on axis {axis}: p = {least:.2g}",
            )
        if samples.shape[1] == 2:
            self._mixed_moments(samples)
        return f"p = {least:.2g}"

    def _mixed_moments(self, samples: Tensor) -> None:
        """E[T_i(tanh z1) T_j(tanh z2)] of the first four Chebyshev polynomials: the dependence of the axes."""

        def basis(value: Tensor, axis: int, power: int) -> Tensor:
            return torch.cos(power * torch.arccos(torch.tanh((value - self.centre[axis]) / self.scale[axis])))

        total, _ = self.expectation(lambda a, b: torch.ones_like(a))
        columns = [[basis(samples[:, axis], axis, k) for k in POWERS] for axis in (0, 1)]
        for i in POWERS:
            for j in POWERS:
                expected, numeric = self.expectation(lambda a, b, i=i, j=j: basis(a, 0, i) * basis(b, 1, j))
                mixed = columns[0][i - 1] * columns[1][j - 1]
                error = math.hypot(float(mixed.std() / math.sqrt(len(mixed))), numeric)
                what = f"the samples' mixed moment E[T{i}(tanh z1) T{j}(tanh z2)]"
                within_errors(float(mixed.mean()), expected / total, error, what)


def same_frequencies(found: Tensor, expected: Tensor, drawn: int) -> str:
    """How often each value came against the number expected, chi-square; those expected under 10 times are one cell.
    [N], [N] -> the p-value. Wrong where it is below FALSE_ALARM.
    """
    likely = expected >= 10
    others = float(drawn - found[likely].sum())
    rest = max(0.0, drawn - float(expected[likely].sum()))
    seen, wanted = found[likely], expected[likely]
    if rest < 10:  # too few for a chi-square: their number is nearly Poisson
        p = float(stats.poisson.sf(others - 1, max(rest, 1e-12)))
        must(p > FALSE_ALARM, f"p = {p:.1g}", f"{int(others)} samples are rare values, expected {rest:.2g}")
    else:
        seen, wanted = torch.cat([seen, seen.new_tensor([others])]), torch.cat([wanted, wanted.new_tensor([rest])])
    statistic = float(((seen - wanted).square() / wanted).sum())
    p = float(stats.chi2.sf(statistic, max(1, len(wanted) - (rest >= 10))))
    return must(p > FALSE_ALARM, f"p = {p:.2g}", f"samples are not distributed as log_prob says: p = {p:.2g}")


def over(cases: Iterable[Case], prove: Callable[[Case], str]) -> str:
    """Carry out a proof for each case; the figures, joined. NotRun where it applies to none of them."""
    return ", ".join(figures_over(cases, prove))


def figures_over(cases: Iterable[Case], prove: Callable[[Case], str]) -> list[str]:
    """The figures of a proof for each case to which it applies. NotRun where it applies to none of them."""
    figures, reasons = [], []
    for case in cases:
        try:
            figures.append(prove(case))
        except (NotRun, Skip) as reason:
            reasons.append(str(reason))
    if not figures:
        raise NotRun(reasons[0])
    return figures
