"""The mean of a number over seeds, and of paired differences over seeds or images, with their intervals."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

SIGNIFICANT = 0.05
ROUNDING = 1e-6
"""A mean difference below this share of the number is rounding: no loss and no gain, however regular it is."""
RESAMPLES = 1999
"""How often `over_images` resamples the images."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The mean of one number over seeds, and its uncertainty.

    `kind` says what `low` and `high` are: the 95 % Student-t interval of the mean (`interval`, three values or more),
    the smallest and the largest value (`range`, two), the value itself (`single`, one), or NaN like the mean (`none`).
    `count` is the number of values without the NaNs.
    """

    mean: float
    low: float
    high: float
    count: int
    kind: Literal["interval", "range", "single", "none"]

    @property
    def half_width(self) -> float:
        """Half of high - low: the number after the `±` of an interval."""
        return (self.high - self.low) / 2


NOTHING = Summary(math.nan, math.nan, math.nan, 0, "none")
"""The summary of no values."""


def summarise(values: Iterable[float]) -> Summary:
    """The mean m of n values with its 95 % interval m ± t s / sqrt(n).

    s is the sample standard deviation (with n - 1) and t the 0.975 quantile of Student's t with n - 1 degrees of
    freedom: 4.303 for three seeds. The interval is exact for normal values. It is not a bootstrap, whose interval over
    three seeds covers 71 % and over five 86 %. Two values give their range in place of an interval. NaNs are dropped,
    and `count` is the number of values that remain. An infinite value makes the interval infinite on both sides.

    >>> round(summarise([1.0, 2.0, 3.0]).half_width, 3)  # 4.303 / sqrt(3)
    2.484
    """
    kept = [float(value) for value in values if not math.isnan(value)]
    count = len(kept)
    if count == 0:
        return NOTHING
    if count == 1:
        return Summary(kept[0], kept[0], kept[0], 1, "single")
    if not math.isfinite(mean := sum(kept) / count):
        ends = (min(kept), max(kept)) if count == 2 else (-math.inf, math.inf)
        return Summary(mean, *ends, count, "range" if count == 2 else "interval")
    mean, error = _mean_and_error(kept)
    if count == 2:
        return Summary(mean, min(kept), max(kept), 2, "range")
    half = student_factor(count - 1, SIGNIFICANT) * error
    return Summary(mean, mean - half, mean + half, count, "interval")


@dataclass(frozen=True, slots=True)
class Paired:
    """The mean of paired differences, its 95 % interval, and the two-sided p-value of the hypothesis that it is 0.

    count: how many differences there are, of seeds or of images.
    """

    mean: float
    low: float
    high: float
    count: int
    p: float


def over_seeds(differences: Sequence[float]) -> Paired:
    """The mean of finite paired differences, two or more, with Student's t interval and p-value."""
    mean, error = _mean_and_error(differences)
    if not math.isfinite(error):
        return Paired(mean, -math.inf, math.inf, len(differences), 1.0)
    half = student_factor(len(differences) - 1, SIGNIFICANT) * error
    return Paired(mean, mean - half, mean + half, len(differences), _p_value(mean, error, len(differences)))


def over_images(differences: np.ndarray) -> Paired:
    """The mean of paired differences [images] with its BCa bootstrap interval over the images, always the same one.

    The p-value is Student's: that of a bootstrap cannot be below 1 / RESAMPLES, too coarse for many comparisons.
    """
    from scipy.stats import bootstrap

    values = differences.astype(np.float64)
    mean, error = _mean_and_error(values.tolist())
    if not error or not math.isfinite(error):
        return over_seeds(values.tolist())  # the same without a bootstrap
    found = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, batch=50, method="BCa", random_state=np.random.default_rng(0)
    ).confidence_interval
    return Paired(mean, float(found.low), float(found.high), len(values), _p_value(mean, error, len(values)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values after Holm's step-down correction: those at most 0.05 are significant among all of these.

    >>> [round(p, 3) for p in holm([0.04, 0.01, 0.03])]
    [0.06, 0.03, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean of finite values, two or more, and its standard error. Infinite where their sum or squares overflow."""
    count = len(values)
    if not math.isfinite(mean := sum(values) / count):
        return mean, math.inf
    try:
        mean = min(max(math.fsum(values) / count, min(values)), max(values))  # rounding never leaves the values' range
        variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    except OverflowError:
        return mean, math.inf
    return mean, math.sqrt(variance / count)


def _p_value(mean: float, error: float, count: int) -> float:
    """The two-sided p-value of Student's t. Equal differences have no error: 1 where they are 0, else 0."""
    if not error:
        return float(mean == 0)
    return float(2 * stdtr(count - 1, -abs(mean) / error))


@cache
def student_factor(degrees: int, level: float) -> float:
    """What |t| of Student's t exceeds with this probability."""
    return float(-stdtrit(degrees, level / 2))
