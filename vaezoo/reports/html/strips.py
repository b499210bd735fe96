"""Differences with their intervals, drawn beside each other on one scale as parts of an HTML page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

FAR = 30.0
"""A difference that is so many times the median one would squeeze all others into one point."""
Side = Literal["best", "alike", "told", "untested"]


@dataclass(frozen=True)
class Strip:
    """A difference as shares of the width: its place, and the ends of its interval.

    href: the anchor that the label leads to, or empty. value: the number itself, text: the difference, as texts. side:
    `best`, `alike` (the interval holds 0), `told` (it does not) or `untested`. cut_low, cut_high: whether an end lies
    outside.
    """

    label: str
    href: str
    value: str
    text: str
    side: Side
    place: float
    low: float
    high: float
    cut_low: bool
    cut_high: bool


@dataclass(frozen=True)
class Difference:
    """What a strip shows: a mean with the ends of its interval, which may be infinite, or NaN where there is none."""

    label: str
    href: str
    value: str
    text: str
    side: Side
    mean: float
    low: float
    high: float


def strips(differences: Sequence[Difference]) -> tuple[tuple[Strip, ...], float]:
    """The strips of some differences on one scale that holds 0 and every mean, and where 0 is.

    A long interval does not make the scale longer than twice what the means take: it is cut. A mean that is FAR times
    the median one does not count, and stands at the end of the scale.
    """
    finite = [each.mean for each in differences if math.isfinite(each.mean)]
    typical = median(map(abs, filter(None, finite))) if any(finite) else 0.0
    means = [0.0, *(mean for mean in finite if abs(mean) <= FAR * typical)]
    near = (each for each in differences if each.mean in means)
    halves = [half for each in near if math.isfinite(half := (each.high - each.low) / 2)]
    longest, span = max(halves, default=0.0), max(means) - min(means)
    room = min(longest, max(0.5 * span, 0.1 * longest)) + 0.04 * (span or longest or 1.0)
    start, width = min(means) - room, span + 2 * room

    def share(value: float) -> float:
        """Where a difference stands, from 0 to 1."""
        return round(min(max((value - start) / width, 0.0), 1.0), 4)

    made = []
    for each in differences:
        mean = each.mean if math.isfinite(each.mean) else 0.0
        low, high = (mean if math.isnan(end) else end for end in (each.low, each.high))
        cut = low < start, high > start + width
        texts = each.label, each.href, each.value, each.text, each.side
        made.append(Strip(*texts, share(mean), share(low), share(high), *cut))
    return tuple(made), share(0.0)
