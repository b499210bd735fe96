"""Which rows of a table may be compared, and which of them is best.

Two rows share a ranking only if they were measured alike: MUST_AGREE lists the facts that must agree, for each kind of
column. Rows of different precisions share one only where the table shows how far each is from float32.

The best row and all that cannot be told from it are bold: reports/contest.py has the rule for numbers of quality. A
timing measures a speed once; it cannot be told from the fastest within 5 %, or where the quartiles of the two overlap.
Where that holds for all rows no speed is bold.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vaezoo.core.columns import MUST_AGREE, Column
from vaezoo.reports.changes import is_slower
from vaezoo.reports.contest import Contest, Gap, contest
from vaezoo.reports.images import SCALED
from vaezoo.reports.number_text import number_text
from vaezoo.reports.rows import TableRow, facts_text
from vaezoo.reports.statistics import summarise

Remarks = Mapping[TableRow, Sequence[str]]
"""What a reader must know of each row, a sentence each."""
_Facts = tuple[Any, ...] | None


FEW_SEEDS = 5
"""With so many seeds or fewer a table says "too few seeds" of rows that it cannot tell apart, never "no difference"."""
NumberImages = Callable[[str, Hashable, str, float], "np.ndarray | None"]
"""(label, seed, column, its number) -> the number of each test image [N], or None where there are none."""


@dataclass(frozen=True)
class Ranking:
    """The comparison of one data set's rows.

    ranked: the rows whose log-likelihood (or ELBO, where no log-likelihoods compete) competes with another row's.
    bold: (row, column name) of each number that cannot be told from the best. remarks: why a row is not ranked with the
    others, or on which seeds it is. unlike: the facts in which a row differs from the ranked ones. chosen: the row that
    the others are measured like, or None where no row can be ranked. best: the best row of each column that has bold
    numbers. gaps: (row, column name) -> its difference to the best. notes: what holds for the rows of a column.
    """

    ranked: frozenset[TableRow]
    bold: frozenset[tuple[TableRow, str]]
    remarks: Remarks
    unlike: Mapping[TableRow, frozenset[str]]
    chosen: TableRow | None
    best: Mapping[str, TableRow] = field(default_factory=dict)
    gaps: Mapping[tuple[TableRow, str], Gap] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Difference:
    """A fact in which a row differs from the ranked ones, and the difference in words."""

    fact: str
    words: str


class _Standings:
    """What the contests of all columns have found so far."""

    def __init__(self, images: NumberImages | None) -> None:
        self.images = images
        self.bold: set[tuple[TableRow, str]] = set()
        self.best: dict[str, TableRow] = {}
        self.gaps: dict[tuple[TableRow, str], Gap] = {}
        self.remarks: defaultdict[TableRow, list[str]] = defaultdict(list)
        self.notes: list[str] = []

    def compare(self, rows: Sequence[TableRow], columns: Sequence[Column]) -> None:
        """The contests of columns of quality, each among the rows that have a finite mean."""
        subsets: dict[TableRow, dict[str, list[str]]] = {}
        for column in columns:
            name = column.name
            able = [row for row in rows if row.has(name) and math.isfinite(row.cells[name].mean)]
            if len(able) < 2:
                continue
            found = contest([row.numbers[name] for row in able], self._images(able, name), column.better or 1)
            best = able[found.best]
            bold = [able[place] for place in found.bold(column.better or 1)]
            if bold:
                self.best[name] = best
            self.bold |= {(row, name) for row in bold}
            self.gaps |= {(row, name): gap for row, gap in zip(able, found.gaps, strict=True) if gap is not None}
            self.notes += _column_notes(column, best, found)
            for row, gap in zip(able, found.gaps, strict=True):
                if row is not best and (text := _subset(row, best, gap, name)):
                    subsets.setdefault(row, {}).setdefault(text, []).append(name)
        for row, texts in subsets.items():
            self.remarks[row] += [f"{', '.join(names)} {text}" for text, names in texts.items()]

    def _images(self, rows: Sequence[TableRow], column: str) -> Callable[[int, Hashable], "np.ndarray | None"]:
        """The values of each image of these rows."""

        def images(place: int, seed: Hashable) -> "np.ndarray | None":
            row = rows[place]
            return None if self.images is None else self.images(row.label, seed, column, row.numbers[column][seed])

        return images

    def compare_speeds(self, rows: Sequence[TableRow], columns: Sequence[Column]) -> None:
        """The contests of speeds, among the rows on the device that most rows ran on."""
        timed = [row for row in rows if _has(row, columns)]
        devices = {row: _facts(row, MUST_AGREE["device"]) for row in timed}
        sizes = Counter(devices.values())
        chosen = max((row for row in timed if devices[row]), key=lambda row: sizes[devices[row]], default=None)
        alike = [row for row in timed if chosen and devices[row] == devices[chosen]]
        for column in columns:
            able = [row for row in alike if row.has(column.name) and math.isfinite(row.cells[column.name].mean)]
            fastest = max(able, key=lambda row: row.cells[column.name].mean, default=None)
            if fastest is None or len(able) < 2:
                continue
            name = column.name
            leaders = [row for row in able if not is_slower(row.speed(name), fastest.speed(name))]
            if len(leaders) < len(able):
                self.best[name] = fastest
                self.bold |= {(row, name) for row in leaders}
        for row in timed:
            if found := _differences(row, chosen, MUST_AGREE["device"], several=len(alike) > 1):
                self.remarks[row].append(f"speeds not ranked: {_in_words(found)}")


def _column_notes(column: Column, best: TableRow, found: Contest) -> list[str]:
    """What the seeds of a column can tell."""
    gaps = [gap for gap in found.gaps if gap is not None]
    tested = [gap for gap in gaps if gap.is_tested]
    heading = column.heading or column.name
    if not tested:
        return [f"{heading}: too few seeds (1) to tell any rows apart, and no values of each image"] if gaps else []
    alike = [gap for gap in tested if not gap.side() and 1 < len(gap.seeds) <= FEW_SEEDS]
    if not alike or column.name in SCALED:
        return []
    largest = number_text(summarise([max(gap.half_width for gap in alike)]), column.style, column.unit)
    seeds = " or ".join(map(str, sorted({len(gap.seeds) for gap in alike})))
    return [
        f"{heading}: too few seeds ({seeds}) to tell the other bold rows from {best.label}; "
        f"differences up to {largest} may be chance"
    ]


def _subset(row: TableRow, best: TableRow, gap: Gap | None, column: str) -> str:
    """On which seeds a row is compared with the best where these are not all seeds of both; empty where they are."""
    if gap is None:
        return f"not ranked: it shares no seed with {best.label}"
    if len(gap.seeds) == len(row.numbers[column]) == len(best.numbers[column]):
        return ""
    which = f"seed{'s' * (len(gap.seeds) > 1)} {facts_text(gap.seeds)} alone, which it shares with {best.label}"
    return f"compared on {which}" + ("" if gap.is_tested else ": too few seeds")


def rank(rows: Sequence[TableRow], columns: Sequence[Column], images: NumberImages | None = None) -> Ranking:
    """Compares one data set's rows.

    The largest set of rows that were measured alike is ranked; of equally large ones, the first. Bold is what cannot be
    told from the best, where two rows or more compete. A pseudo-likelihood and a row whose seeds were measured unlike
    each other do not compete. Rows with other seeds are compared on those that they share. images: where the numbers of
    each test image are.
    """
    estimates, bounds, speeds = (
        [column for column in columns if column.ranked_by == kind] for kind in ("estimate", "data", "device")
    )
    remarks: defaultdict[TableRow, list[str]] = defaultdict(list)
    scored = [row for row in rows if _has(row, estimates + bounds)]
    for row in scored:
        if row.pseudo_likelihood:
            remarks[row].append("pseudo-likelihood (a density of other values than these images): not ranked")
    scored = [row for row in scored if not row.pseudo_likelihood]
    precision = ("precision",) * any(_differs_unseen(row) for row in scored)
    same_estimate, same_data = MUST_AGREE["estimate"] + precision, MUST_AGREE["data"] + precision
    by_estimate = {row: _facts(row, same_estimate) for row in scored}
    by_data = {row: _facts(row, same_data) for row in scored}
    chosen = _chosen(scored, estimates, by_estimate, by_data)
    in_estimates = [r for r in scored if chosen and by_estimate[r] == by_estimate[chosen] and _has(r, estimates)]
    in_bounds = [r for r in scored if chosen and by_data[r] == by_data[chosen] and _has(r, bounds)]
    comparable = set(in_bounds)
    unlike: dict[TableRow, frozenset[str]] = {}
    for row in scored:
        names = same_estimate if _has(row, estimates) else same_data
        if found := _differences(row, chosen, names, several=len(in_estimates or in_bounds) > 1):
            unlike[row] = frozenset(difference.fact for difference in found)
            remarks[row].append(f"{'iwll ' if row in comparable else ''}not ranked: {_in_words(found)}")
    found_in = _Standings(images)
    found_in.compare(in_estimates, estimates)
    found_in.compare(in_bounds, bounds)
    found_in.compare_speeds(rows, speeds)
    for row, found_remarks in found_in.remarks.items():
        remarks[row] += found_remarks
    return Ranking(
        frozenset(next((each for each in (in_estimates, in_bounds) if len(each) > 1), [])),
        frozenset(found_in.bold),
        dict(remarks),
        unlike,
        chosen,
        found_in.best,
        found_in.gaps,
        tuple(dict.fromkeys(found_in.notes)),
    )


def _has(row: TableRow, columns: Iterable[Column]) -> bool:
    return row.has(*(column.name for column in columns))


def _differs_unseen(row: TableRow) -> bool:
    """Whether a row has a coarser precision than float32 and no number for the difference that this makes."""
    coarser = any(name not in (None, "float32") for name in row.facts.get("precision", ()))
    return coarser and not row.has("iwll_minus_float32")


def _facts(row: TableRow, names: Sequence[str]) -> _Facts:
    """How the row was measured, or None where its seeds differ."""
    facts = [row.facts.get(name, (None,)) for name in names]
    return None if any(len(values) > 1 for values in facts) else tuple(facts)


def _chosen(
    scored: Sequence[TableRow],
    estimates: Sequence[Column],
    by_estimate: Mapping[TableRow, _Facts],
    by_data: Mapping[TableRow, _Facts],
) -> TableRow | None:
    """The first row of the largest set that agrees in all facts; of equally large sets, the one with most comparable
    ELBOs counts.
    """
    facts = {row: by_estimate[row] if _has(row, estimates) else None for row in scored}
    estimated, bounded = Counter(facts.values()), Counter(by_data.values())
    estimated[None] = 0
    able = (row for row in scored if by_data[row])
    return max(able, key=lambda row: (estimated[facts[row]], bounded[by_data[row]]), default=None)


def _differences(row: TableRow, chosen: TableRow | None, names: Sequence[str], *, several: bool) -> list[_Difference]:
    """The facts in which the row differs from the chosen one or its seeds differ from each other.

    several: whether the chosen row stands for more rows than itself.
    """
    others = "the ranked rows have" if several or not chosen else f"{chosen.label} has"
    found: list[_Difference] = []
    for name in names:
        values = row.facts.get(name, (None,))
        if name == "context_checksum" and "conditional" in (difference.fact for difference in found):
            continue  # log p(x) has no context to compare
        if len(values) > 1:
            found.append(_Difference(name, f"{name} is {facts_text(values)} over its seeds"))
        elif chosen and values != (wanted := chosen.facts.get(name, (None,))):
            found.append(_Difference(name, f"{name} is {facts_text(values)}, {others} {facts_text(wanted)}"))
    return found


def _in_words(differences: Iterable[_Difference]) -> str:
    return "; ".join(difference.words for difference in differences)
