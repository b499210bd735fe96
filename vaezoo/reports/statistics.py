"""What several seeds say about one number, and which rows' numbers may be ranked together.

Two rows share a ranking only if what was measured is the same: COMPARED for the ELBO, with ESTIMATED also for the
importance-weighted log-likelihood, the device for speeds.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import pandas
from scipy.special import stdtrit

COMPARED = ("checksum", "binarisation", "measure", "split", "images", "conditional")
ESTIMATED = ("estimator", "importance_samples")


@dataclass(frozen=True)
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
        return Summary(math.nan, math.nan, math.nan, 0, "none")
    mean = sum(kept) / count
    if math.isfinite(mean):
        mean = min(max(math.fsum(kept) / count, min(kept)), max(kept))  # rounding never leaves the values' range
    if count < 3:
        return Summary(mean, min(kept), max(kept), count, "range" if count == 2 else "single")
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
        return any(column in self.cells and self.cells[column].count for column in columns)

    def remark(self, text: str) -> None:
        """Says this of the row, once."""
        if text not in self.remarks:
            self.remarks.append(text)


def rank(rows: Sequence[Row], columns: Sequence[Column]) -> Row | None:
    """Sets what is `bold` and `ranked` among one dataset's rows, and remarks why a row is not ranked with the others.

    The largest set of rows that agree is ranked (of equal ones the first); bold is the best mean, where two rows or
    more compete. A pseudo-likelihood, a row whose seeds disagree and a row with fewer ok seeds than another do not
    compete. Returns a row of the ranked set, or None.
    """
    bounds = [column for column in columns if column.ranking in ("iwll", "elbo")]
    scored = [row for row in rows if row.has(*(column.name for column in bounds))]
    for row in scored:
        if row.pseudo_likelihood:
            row.remark("pseudo-likelihood (a density of other values than these images): not ranked")
    scored = [row for row in scored if not row.pseudo_likelihood]
    chosen = _largest(scored)
    iwll, elbo = (
        [row for row in scored if row.has(*(c.name for c in columns if c.ranking == kind))] for kind in ("iwll", "elbo")
    )
    iwll = [row for row in iwll if chosen and _key(row, COMPARED + ESTIMATED) == _key(chosen, COMPARED + ESTIMATED)]
    elbo = [row for row in elbo if chosen and _key(row, COMPARED) == _key(chosen, COMPARED)]
    alike = set(elbo)
    for row in scored:
        names = COMPARED + ESTIMATED if row.has("iwll", "bits_per_dim") else COMPARED
        if unlike := _differences(row, chosen, names, iwll or elbo):
            row.remark(f"{'iwll ' if row in alike else ''}not ranked: {unlike}")
    full = max((row.counts["ok"] for row in rows), default=0)
    for row in rows:
        if 0 < row.counts["ok"] < full:
            row.remark(f"not ranked: {row.counts['ok']} ok seeds where others have {full}")
    iwll = _best(iwll, [column for column in bounds if column.ranking == "iwll"], full)
    elbo = _best(elbo, [column for column in bounds if column.ranking == "elbo"], full)
    for row in iwll or elbo:
        row.ranked = True
    _rank_speeds(rows, [column for column in columns if column.ranking == "speed"], full)
    return chosen


def _rank_speeds(rows: Sequence[Row], columns: Sequence[Column], full: int) -> None:
    """Ranks speeds among the rows of the device that most rows ran on."""
    timed = [row for row in rows if row.has(*(column.name for column in columns))]
    sizes = Counter(_key(row, ("device",)) for row in timed)
    chosen = max(
        (row for row in timed if _key(row, ("device",))), key=lambda row: sizes[_key(row, ("device",))], default=None
    )
    alike = [row for row in timed if chosen and _key(row, ("device",)) == _key(chosen, ("device",))]
    for row in timed:
        if unlike := _differences(row, chosen, ("device",), alike):
            row.remark(f"speeds not ranked: {unlike}")
    _best(alike, columns, full)


def _largest(scored: Sequence[Row]) -> Row | None:
    """The first row of the largest set that agrees in all; of equal sets, of the one with most comparable ELBOs."""
    fine = Counter(_key(row, COMPARED + ESTIMATED) for row in scored if row.has("iwll", "bits_per_dim"))
    coarse = Counter(_key(row, COMPARED) for row in scored)
    fine[None] = 0

    def size(row: Row) -> tuple[int, int]:
        key = _key(row, COMPARED + ESTIMATED) if row.has("iwll", "bits_per_dim") else None
        return fine[key], coarse[_key(row, COMPARED)]

    return max((row for row in scored if _key(row, COMPARED)), key=size, default=None)


def _key(row: Row, names: Sequence[str]) -> tuple[Any, ...] | None:
    """What the row was measured with, or None where its seeds disagree."""
    facts = [row.facts.get(name, (None,)) for name in names]
    return None if any(len(values) > 1 for values in facts) else tuple(facts)


def _differences(row: Row, chosen: Row | None, names: Sequence[str], ranked: Sequence[Row]) -> str:
    """In words, how the row was measured unlike the chosen one; empty where it was not."""
    others = "the ranked rows have" if len(ranked) > 1 or not chosen else f"{chosen.label} has"
    words = []
    for name in names:
        values = row.facts.get(name, (None,))
        if len(values) > 1:
            words.append(f"{name} is {' and '.join(map(plain, values))} over its seeds")
        elif chosen and values != (wanted := chosen.facts.get(name, (None,))):
            words.append(f"{name} is {plain(values[0])}, {others} {' and '.join(map(plain, wanted))}")
    return "; ".join(words)


def _best(rows: Sequence[Row], columns: Sequence[Column], full: int) -> list[Row]:
    """Makes the best of each column bold among rows with `full` seeds, and returns those; none if fewer than two."""
    able = [row for row in rows if row.counts["ok"] == full]
    for column in columns:
        fit = []
        for row in able:
            count = row.cells[column.name].count
            if column.ranking != "speed" and 0 < count < full:
                row.remark(f"{column.name} not ranked: {count} of {full} seeds have it")
            elif count and math.isfinite(row.cells[column.name].mean):
                fit.append(row)
        best = max((column.better * row.cells[column.name].mean for row in fit), default=0.0)
        leaders = [row for row in fit if column.better * row.cells[column.name].mean == best]
        if len(leaders) < len(fit):  # where all are equal none is best
            for row in leaders:
                row.bold.add(column.name)
    return able if len(able) > 1 else []


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
