"""Which rows of one column cannot be told from the best: the rule of a table's bold numbers.

A difference between two rows varies for two reasons: a model trained anew, with another seed, gives another number, and
so do other test images. Both rows of a pair have the seeds and the images (and the noise) in common, so their
difference d[s, n] in seed s and image n is paired in both. With S shared seeds, N images and R rows, a row is told from
the best where |mean d| > f(R, nu) sqrt(a^2 + b^2):

    a^2 = max(v, m) / S, v the variance over s of mean_n d, m the median of v over the rows
    b^2 = max(w - u / S, 0) / N, w the variance over n of mean_s d, u that of what is left of d over s and n without the
        means of each seed and of each image (their interaction)

The images are the same in every seed, so that their part of the variance does not shrink with S: a alone speaks of
these test images only, and b alone of these trained models only. v contains u / N, and w contains u / S: the
interaction of seeds and images, which shrinks with both, counts in a, and is taken from b. With one seed there is no u
to take. m guards against variances that are small by chance, which those of few seeds often are; a row that is far
noisier than the others does not move it.

a has S - 1 degrees of freedom and b has N - 1. Those of their sum are the harmonic mean of the two, weighted by their
shares of the variance: 1 / nu = p / (S - 1) + (1 - p) / (N - 1), p = a^2 / (a^2 + b^2). Welch and Satterthwaite weigh
by the squared shares, which holds where the shares are known; here few seeds estimate them, and squares would give too
many false alarms. Two seeds cannot tell the shares: their half-width is sqrt(f(R, 1)^2 a^2 + f(R, N -
1)^2 b^2), which covers at least as often as each part does (Banerjee 1960).

f(R, nu) makes it family-wise: it is the 95 % point of the largest (best - row) / sqrt(max(v, m) / S) in simulated
tables of R equal rows with S = nu + 1 seeds of normal noise (for nu = infinity that of the studentised range / sqrt(2),
Tukey), log-linear in 1 / nu between these, and at least Student's factor, which holds for a single row that is noisier
than all others. So with no true difference all rows stay bold in 93 to 97 of 100 tables, although the best is chosen by
its number; with two seeds in more (`python tests/reports/simulated_tables.py`).

With one shared seed b decides alone. Without values of each image a does; with neither no row is told from the best.

Banerjee, S. K. (1960): Approximate confidence interval for linear functions of means of k populations when the
population variances are not equal. Sankhya 22, 357-358.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import stdtrit

from vaezoo.reports.statistics import ROUNDING, SIGNIFICANT

MOST_FILES = 1000
"""How many files of per-image values the comparisons of one table read, or one of each row where it has more rows: b
then averages over the first shared seeds alone, which makes it larger. (The errors of the test set read every file.)"""
_SIMULATED, _AT_ONCE = 4_000_000, 500_000
_MOST_DEGREES = 10
"""f is simulated up to this nu, and between it and infinity log-linear in 1 / nu."""

PerImage = Callable[[int, Hashable], "np.ndarray | None"]
"""(row, seed) -> its values of the test images [N], or None where there are none."""


@dataclass(frozen=True)
class Gap:
    """The mean of row - best over the seeds that the two share, and its interval, which holds for all rows together.

    seeds: those that they share. images: how many test images the interval covers; 0 where only the seeds decide. The
    interval is infinite where neither seeds nor images can decide.
    """

    mean: float
    low: float
    high: float
    seeds: tuple[Hashable, ...]
    images: int = 0

    @property
    def is_tested(self) -> bool:
        """Whether there were enough seeds, or values of each image."""
        return self.low > -math.inf

    @property
    def half_width(self) -> float:
        """How large the difference must be to be told from 0."""
        return (self.high - self.low) / 2

    def side(self) -> int:
        """1 where the row is told above the best, -1 where it is told below it, else 0."""
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True)
class Contest:
    """The place of the best row, and the gap of every row to it: that of the best is None, and that of a row without a
    shared seed.
    """

    best: int
    gaps: Sequence[Gap | None]

    def bold(self, better: int) -> list[int]:
        """The rows that cannot be told from the best; none where no other row shares a seed with it."""
        shared = [place for place, gap in enumerate(self.gaps) if gap is not None]
        alike = [place for place in shared if (gap := self.gaps[place]) and gap.side() * better >= 0]
        return sorted([self.best, *alike]) if shared else []


def contest(rows: Sequence[Mapping[Hashable, float]], images: PerImage, better: int) -> Contest:
    """Compares rows, two or more, with the best of them. rows: the finite number of each seed; better: 1 or -1.

    The best is the row with the best mean among those with most seeds: fewer seeds are no reason to look better. Where
    another row is told above it on the seeds that they share, that one takes its place.
    """
    most = max(map(len, rows))
    full = [place for place, row in enumerate(rows) if len(row) == most]
    best = max(full, key=lambda place: better * math.fsum(value / most for value in rows[place].values()))
    seen: set[int] = set()
    while True:
        seen.add(best)
        gaps = _gaps(rows, best, images)
        above = [(better * gap.mean, -at) for at, gap in enumerate(gaps) if gap and gap.side() * better > 0]
        above = [(mean, at) for mean, at in above if -at not in seen]
        if not above:
            return Contest(best, gaps)
        best = -max(above)[1]


def _gaps(rows: Sequence[Mapping[Hashable, float]], best: int, images: PerImage) -> list[Gap | None]:
    """The gap of each row to the best one."""
    found: list[tuple[tuple[Hashable, ...], float, float]] = []
    for row in rows:
        seeds = tuple(seed for seed in rows[best] if seed in row)
        differences = np.array([row[seed] - rows[best][seed] for seed in seeds])
        with np.errstate(all="ignore"):
            mean = float(differences.mean()) if seeds else math.nan
            found.append((seeds, mean, float(differences.var(ddof=1)) if len(seeds) > 1 else math.nan))
    variances = [v for place, (_, _, v) in enumerate(found) if place != best and not math.isnan(v)]
    middle = float(np.median(variances)) if variances else math.nan
    files = max(1, MOST_FILES // len(rows))

    def gap(place: int) -> Gap | None:
        """The gap of one row; None for the best, and without a shared seed."""
        seeds, mean, variance = found[place]
        if place == best or not seeds:
            return None
        with np.errstate(all="ignore"):
            error, count = _image_error([(images(place, seed), images(best, seed)) for seed in seeds[:files]])
        of_seeds = max(variance, middle) / len(seeds) if len(seeds) > 1 else 0.0
        half = float(half_width(len(rows), len(seeds), of_seeds, count, error**2))
        if len(seeds) == 1 and not count:
            return Gap(mean, -math.inf, math.inf, seeds)
        scale = max(map(abs, rows[best].values()))
        if abs(mean) <= ROUNDING * scale:  # however regular it is
            half = max(half, abs(mean))
        return Gap(mean, mean - half, mean + half, seeds, count)

    return [gap(place) for place in range(len(rows))]


def _image_error(pairs: Sequence[tuple[np.ndarray | None, np.ndarray | None]]) -> tuple[float, int]:
    """The standard error of the mean difference over the images, without their interaction with the seeds, and the
    number of images: 0 where values are not there.
    """
    found = _differences(pairs)
    if found is None:
        return 0.0, 0
    seeds, images = found.shape
    variance = float(found.mean(0).var(ddof=1))
    if seeds > 1:
        left = found - found.mean(0) - found.mean(1, keepdims=True) + found.mean()
        variance = max(variance - float((left**2).sum()) / ((seeds - 1) * (images - 1) * seeds), 0.0)
    return math.sqrt(variance / images), images


def mean_difference(pairs: Sequence[tuple[np.ndarray | None, np.ndarray | None]]) -> np.ndarray | None:
    """The mean over pairs of first - second for each test image [N]; None where a pair lacks them, has others, or a
    value is not finite.
    """
    found = _differences(pairs)
    if found is None:
        return None
    mean: np.ndarray = found.mean(0)
    return mean


def _differences(pairs: Sequence[tuple[np.ndarray | None, np.ndarray | None]]) -> np.ndarray | None:
    """first - second for each pair and test image [S, N]; None as for `mean_difference`."""
    found: list[np.ndarray] = []
    for one, other in pairs:
        if one is None or other is None or one.ndim != 1 or one.shape != other.shape or len(one) < 2:
            return None
        found.append(one.astype(np.float64) - other.astype(np.float64))
        if found[-1].shape != found[0].shape or not np.isfinite(found[-1]).all():
            return None
    return np.array(found) if found else None


def half_width(
    rows: int, seeds: int, of_seeds: float | np.ndarray, images: int, of_images: float | np.ndarray
) -> np.ndarray:
    """f(R, nu) sqrt(a^2 + b^2) of this module's rule, of one pair of R rows or of many that share as many seeds.

    of_seeds: a^2, 0 for one seed. of_images: b^2, 0 without values of the images.
    """
    a, b = np.asarray(of_seeds, dtype=float), np.asarray(of_images, dtype=float)
    inverses = 1 / max(seeds - 1, 1), 1 / max(images - 1, 1)
    if seeds == 2:
        squares: np.ndarray = factor(rows, inverses[0]) ** 2 * a + factor(rows, inverses[1]) ** 2 * b
        return squares**0.5
    with np.errstate(all="ignore"):
        share = np.nan_to_num(a / (a + b), nan=0.0 if images else 1.0)
        half: np.ndarray = factor(rows, share * inverses[0] + (1 - share) * inverses[1]) * (a + b) ** 0.5
    return half


def factor(rows: int, inverse: float | np.ndarray) -> np.ndarray:
    """f(R, nu) of this module's rule, by 1 / nu: Student's factor for two rows.

    >>> factor(2, 1 / 2).round(2).item(), factor(6, 1).round(2).item()
    (4.3, 12.71)
    """
    wanted = np.maximum(np.asarray(inverse, dtype=float), 1e-9)
    student: np.ndarray = -stdtrit(1 / wanted, SIGNIFICANT / 2)
    if rows == 2:
        return student
    fewest = min(_MOST_DEGREES, math.floor(1 / wanted.max()))
    most = 1 / wanted.min()
    degrees = [math.inf] if most > _MOST_DEGREES else []
    degrees += range(min(_MOST_DEGREES, math.ceil(most)), fewest - 1, -1)
    logs = [math.log(_family_factor(rows, nu)) for nu in degrees]
    larger: np.ndarray = np.maximum(student, np.exp(np.interp(wanted, [1 / nu for nu in degrees], logs)))
    return larger


@cache
def _family_factor(rows: int, degrees: float) -> float:
    """The 95 % point of f, from simulated tables that are always the same: two standard errors of their share above."""
    if math.isinf(degrees):
        from scipy.stats import studentized_range  # a slow import, which two rows do not need

        return float(studentized_range.ppf(1 - SIGNIFICANT, rows, math.inf)) / math.sqrt(2)
    seeds = int(degrees) + 1
    random = np.random.default_rng(0)
    wanted = min(40_000, max(400, _SIMULATED // (rows * seeds)))
    found: list[np.ndarray] = []
    while sum(map(len, found)) < wanted:
        numbers = random.standard_normal((min(wanted, max(1, _AT_ONCE // (rows * seeds))), rows, seeds))
        found.append(_largest(numbers))
    largest = np.concatenate(found)
    point = 1 - SIGNIFICANT + 2 * math.sqrt(SIGNIFICANT * (1 - SIGNIFICANT) / len(largest))
    return float(np.quantile(largest, point))


def _largest(numbers: np.ndarray) -> np.ndarray:
    """The largest (best - row) / sqrt(max(v, m) / S) of each table [T, R, S]."""
    tables, rows, seeds = numbers.shape
    best = numbers.mean(2).argmax(1)
    others = np.arange(rows) != best[:, None]
    differences = (numbers[np.arange(tables), best][:, None] - numbers)[others].reshape(tables, rows - 1, seeds)
    variances = differences.var(2, ddof=1)
    errors = np.sqrt(np.maximum(variances, np.median(variances, 1, keepdims=True)) / seeds)
    largest: np.ndarray = (differences.mean(2) / errors).max(1)
    return largest
