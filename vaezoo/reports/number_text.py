"""Numbers as text, with as many digits as their interval allows."""

import math

from vaezoo.core.columns import Style
from vaezoo.reports.statistics import Summary


def number_text(summary: Summary, style: Style = "plain", unit: float = 1.0) -> str:
    """The text of a cell: `-86.32 ± 0.14` (interval), `-86.40 .. -86.10` (range), one value, or empty.

    The half-width sets the digits: it has two significant ones (one for a range), and nats have at least two decimals,
    bits three. Where all seeds agree the text is their value. Speeds have three digits and an SI letter: `26.6k`.
    """
    if summary.count == 0:
        return ""
    mean, low, high = (value / unit for value in (summary.mean, summary.low, summary.high))
    if not math.isfinite(mean):
        return f"{mean}"
    half, letter = (high - low) / 2, ""
    half = half if half > 1e-9 * abs(mean) else 0.0  # a smaller one is rounding
    if style == "speed":
        mean, low, high, half, letter = _si(mean, low, high, half)
    places = _places(mean, half, style, digits=1 if summary.kind == "range" else 2)
    if places and style in ("count", "plain") and summary.kind == "range" and low.is_integer() and high.is_integer():
        places = 0
    form = ".4g" if places is None else f"z,.{places}f"
    if half and summary.kind == "interval":
        around = f"{half:{'.2g' if places is None else form}}"
        return f"{mean:{form}}{letter} ± {around}{letter}" if around.strip("0.") else f"{mean:{form}}{letter}"
    if half and f"{low:{form}}" != f"{high:{form}}":
        return f"{low:{form}}{letter} .. {high:{form}}{letter}"
    return f"{mean:{form}}{letter}"


def ten_digits(value: float) -> float:
    """The value with ten digits: the last ones of a sum over images differ between processors."""
    return float(f"{value:.10g}")


def _si(mean: float, low: float, high: float, half: float) -> tuple[float, float, float, float, str]:
    """A speed, its ends and its half-width divided by the SI unit that suits the mean, and the letter of that unit."""
    size = abs(float(f"{mean:.2e}"))
    scale, letter = next(((s, c) for s, c in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if size >= s), (1.0, ""))
    return mean / scale, low / scale, high / scale, half / scale, letter


def _places(mean: float, half: float, style: str, digits: int) -> int | None:
    """The number of decimals that gives the half-width `digits` digits; None where the text needs an exponent."""
    size = abs(mean)
    if style == "nats":
        least = 2
    elif style == "bits":
        least = 3
    elif style == "speed":
        least = max(0, 2 - _magnitude(float(f"{size:.2e}")))
        return min(least, 4)  # a third digit is finer than any clock
    elif mean.is_integer() and not half:
        return 0
    elif style == "count":
        least = 1 if size < 100 and not half else 0
    else:
        least = max(0, 3 - _magnitude(float(f"{size:.3e}"))) if not half else 0
    if half:
        least = max(least, digits - 1 - _magnitude(float(f"{half:.1e}")))
    if style in ("nats", "bits"):
        return min(least, 6) if size < 1e9 else None
    return least if least <= 6 and size < 1e12 else None


def _magnitude(value: float) -> int:
    """The power of ten of the first digit; 0 for 0."""
    return math.floor(math.log10(value)) if value else 0
