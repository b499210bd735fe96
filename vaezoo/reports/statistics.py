"""What several seeds say about one number, and the columns and rows of a table that numbers stand in."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import pandas
from scipy.special import stdtrit


@dataclass(frozen=True, slots=True)
class Summary:
    """The mean of one number over seeds, and how far it may be off.

    `kind` says what `low` and `high` are: the 95 % Student-t interval of the mean (`interval`, three values or more),
    the least and the greatest value (`range`, two), the value itself (`single`, one), or NaN like the mean (`none`).
    `count` is how many values remained after NaNs were dropped.
    """

    mean: float
    low: float
    high: float
    count: int
    kind: Literal["interval", "range", "single", "none"]

    @property
    def half_width(self) -> float:
        """Half of high - low: what stands after the `±` of an interval."""
        return (self.high - self.low) / 2


NOTHING = Summary(math.nan, math.nan, math.nan, 0, "none")
"""The summary of no values."""


def summarise(values: Iterable[float]) -> Summary:
    """The mean m of n values with its 95 % interval m ± t s / sqrt(n).

    s is the sample standard deviation (with n - 1) and t the 0.975 quantile of Student's t with n - 1 degrees of
    freedom: 4.303 for three seeds. It holds exactly for normal values. The bootstrap is not used: of three seeds it
    covers 71 %, of five 86 %. Below three values there is no interval and the range is given. NaNs are dropped and
    `count` says how many values remain; an infinite value makes the interval all of the line.

    >>> round(summarise([1.0, 2.0, 3.0]).half_width, 3)  # 4.303 / sqrt(3)
    2.484
    """
    kept = [float(value) for value in values if not math.isnan(value)]
    count = len(kept)
    if count == 0:
        return NOTHING
    if count == 1:
        return Summary(kept[0], kept[0], kept[0], 1, "single")
    mean = sum(kept) / count
    if math.isfinite(mean):
        mean = min(max(math.fsum(kept) / count, min(kept)), max(kept))  # rounding never leaves the values' range
    if count == 2:
        return Summary(mean, min(kept), max(kept), 2, "range")
    if not math.isfinite(mean):
        return Summary(mean, -math.inf, math.inf, count, "interval")
    variance = math.fsum((value - mean) ** 2 for value in kept) / (count - 1)
    half = _quantile(count - 1) * math.sqrt(variance / count)
    return Summary(mean, mean - half, mean + half, count, "interval")


@cache
def _quantile(degrees: int) -> float:
    """The 0.975 quantile of Student's t."""
    return float(stdtrit(degrees, 0.975))


@dataclass(frozen=True)
class Column:
    """One measured column: its name in the results frame, its heading, and how it is written and ranked.

    `better` is 1 where higher is better, -1 where lower is, 0 where neither; `ranking` names what rows must agree on
    to be ranked by it: an `iwll`, an `elbo`, or `speed`. The frame's number is divided by `unit` for people; CSV
    keeps it as it is.
    """

    name: str
    heading: str
    style: Literal["nats", "bits", "count", "speed", "plain"] = "plain"
    better: int = 0
    ranking: Literal["iwll", "elbo", "speed", ""] = ""
    unit: float = 1.0


QUALITY = (
    Column("iwll", "iwll (nats) ↑", "nats", 1, "iwll"),
    Column("iwll_standard_error", "Monte-Carlo error (nats)"),
    Column("effective_samples", "effective samples", "count"),
    Column("elbo", "elbo (nats) ↑", "nats", 1, "elbo"),
    Column("kl", "kl (nats)", "nats"),
    Column("reconstruction", "reconstruction (nats)", "nats"),
    Column("active_units", "active units", "count"),
    Column("bits_per_dim", "bits/dim ↓", "bits", -1, "iwll"),
)
COSTS = (
    Column("train_images_per_second", "train images/s ↑", "speed", 1, "speed"),
    Column("iwll_samples_per_second", "iwll samples/s ↑", "speed", 1, "speed"),
    Column("sample_images_per_second", "sample images/s ↑", "speed", 1, "speed"),
    Column("peak_memory_bytes", "peak memory (MiB)", "count", unit=2**20),
    Column("parameters", "parameters", "count"),
    Column("train_seconds", "train seconds", "count"),
)


@dataclass(eq=False)
class Row:
    """One variant on one dataset over its seeds, or a number from elsewhere (`reference`).

    `cells` has a Summary for each measured column; `facts` what its ok seeds were measured with, each fact once (more
    than one where seeds differ); `counts` how many seeds have each status, `reasons` why they failed; `source` where
    a reference is from; `remarks` what must be said of it, lettered in the table; `bold` the columns it is best in;
    `ranked` whether its log-likelihood (or its ELBO, where no log-likelihoods are) competed with another row's.
    """

    label: str
    cells: dict[str, Summary]
    variant: str = ""
    facts: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    settings: dict[str, Any] = field(default_factory=dict)
    pseudo_likelihood: bool = False
    reference: bool = False
    source: str = ""
    reasons: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    bold: set[str] = field(default_factory=set)
    ranked: bool = False

    @property
    def seeds(self) -> str:
        """How many seeds gave numbers: `3`, or `2 of 3 (1 diverged)`."""
        bad = ", ".join(f"{count} {status}" for status, count in self.counts.items() if status != "ok")
        return f"{self.counts['ok']} of {self.counts.total()} ({bad})" if bad else f"{self.counts['ok'] or ''}"

    def has(self, *columns: str) -> bool:
        """Whether there is a number in any of these columns."""
        cells = self.cells
        return any(column in cells and cells[column].count for column in columns)

    def remark(self, text: str) -> None:
        """Says this of the row, once."""
        if text not in self.remarks:
            self.remarks.append(text)


def plain(value: Any) -> str:
    """A setting or fact in words: `1000` for 1000.0, `0123456789ab` for a checksum, `not given` for none."""
    if absent(value):
        return "not given"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{40,}", text) else text


def absent(value: Any) -> bool:
    """Whether a frame's cell holds nothing: None, NaN, NA or NaT."""
    return bool(pandas.api.types.is_scalar(value) and pandas.isna(value))
