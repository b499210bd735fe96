"""The best of each column of a table, what cannot be told from it, and what a reader must know of the comparison.

reports/contest.py has the rule for numbers of quality. A timing measures a speed once: it cannot be told from the
fastest within 5 %, or where the quartiles of the two overlap; where that holds for all rows, no speed is bold.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from vaezoo.core.columns import Column
from vaezoo.reports.changes import is_slower
from vaezoo.reports.contest import Contest, Gap, contest
from vaezoo.reports.images import SCALED
from vaezoo.reports.number_text import number_text
from vaezoo.reports.places import places
from vaezoo.reports.rows import TableRow, facts_text
from vaezoo.reports.statistics import summarise

FEW_SEEDS = 5
"""With so many seeds or fewer a table says "too few seeds" of rows that it cannot tell apart, never "no difference"."""
NumberImages = Callable[[str, Hashable, str, float], "np.ndarray | None"]
"""(label, seed, column, its number) -> the number of each test image [N], or None where there are none."""


class Standings:
    """What the contests of columns have found: (row, column name) of each bold number, the best row of each column that
    has bold numbers, (row, column name) -> its gap to the best, and its rank; what the seeds of each column can tell.
    """

    def __init__(self, images: NumberImages | None) -> None:
        self.bold: set[tuple[TableRow, str]] = set()
        self.best: dict[str, TableRow] = {}
        self.gaps: dict[tuple[TableRow, str], Gap] = {}
        self.places: dict[tuple[TableRow, str], int] = {}
        self.notes: list[str] = []
        self._images = images
        self._subsets: dict[TableRow, dict[str, list[str]]] = {}

    @property
    def remarks(self) -> Mapping[TableRow, Sequence[str]]:
        """On which seeds a row is compared with the best, where these are not all seeds of both."""
        return {
            row: [f"{', '.join(names)} {text}" for text, names in texts.items()] for row, texts in self._subsets.items()
        }

    def compare(self, rows: Sequence[TableRow], columns: Sequence[Column]) -> None:
        """The contests of columns of quality, each among the rows that have a finite mean."""
        for column in columns:
            name = column.name
            able = _able(rows, column)
            if len(able) < 2:
                continue
            numbers, images, better = (
                [row.numbers[name] for row in able],
                self._images_of(able, name),
                column.better or 1,
            )
            found = contest(numbers, images, better)
            best = able[found.best]
            if bold := [able[place] for place in found.bold(better)]:
                self.best[name] = best
                self.bold |= {(row, name) for row in bold}
                ranks = zip(able, places(numbers, images, better, found), strict=True)
                self.places |= {(row, name): rank for row, rank in ranks if rank is not None}
            for row, gap in zip(able, found.gaps, strict=True):
                if gap is not None:
                    self.gaps[row, name] = gap
                if row is not best and (text := _subset(row, best, gap, name)):
                    self._subsets.setdefault(row, {}).setdefault(text, []).append(name)
            self.notes += _seed_notes(column, best, found)

    def compare_speeds(self, rows: Sequence[TableRow], columns: Sequence[Column]) -> None:
        """The contests of speeds, among rows on one device."""
        for column in columns:
            name = column.name
            able = _able(rows, column)
            fastest = max(able, key=lambda row: row.cells[name].mean, default=None)
            if fastest is None:
                continue
            leaders = [row for row in able if not is_slower(row.speed(name), fastest.speed(name))]
            if len(leaders) < len(able):
                self.best[name] = fastest
                self.bold |= {(row, name) for row in leaders}

    def _images_of(self, rows: Sequence[TableRow], column: str) -> Callable[[int, Hashable], "np.ndarray | None"]:
        """The values of each image of these rows."""

        def images(place: int, seed: Hashable) -> "np.ndarray | None":
            row = rows[place]
            return None if self._images is None else self._images(row.label, seed, column, row.numbers[column][seed])

        return images


def _able(rows: Sequence[TableRow], column: Column) -> list[TableRow]:
    """The rows that have a finite mean."""
    return [row for row in rows if row.has(column.name) and math.isfinite(row.cells[column.name].mean)]


def _seed_notes(column: Column, best: TableRow, found: Contest) -> list[str]:
    """What the seeds of a column cannot tell."""
    gaps = [gap for gap in found.gaps if gap is not None]
    tested = [gap for gap in gaps if gap.is_tested]
    if not gaps or column.name in SCALED:
        return []
    heading = column.heading or column.name
    if not tested:
        return [f"{heading}: too few seeds (1) to tell any rows apart, and no values of each image"]
    alike = [gap for gap in tested if not gap.side() and 1 < len(gap.seeds) <= FEW_SEEDS and gap.half_width > 0]
    if not alike:
        return []
    largest = number_text(summarise([max(gap.half_width for gap in alike)]), column.style, column.unit)
    seeds = " or ".join(map(str, sorted({len(gap.seeds) for gap in alike})))
    return [
        f"{heading}: too few seeds ({seeds}) to tell the other bold rows from {best.label}; "
        f"their differences to it are uncertain by up to {largest}"
    ]


def _subset(row: TableRow, best: TableRow, gap: Gap | None, column: str) -> str:
    """On which seeds a row is compared with the best where these are not all seeds of both; empty where they are."""
    if gap is None:
        return f"not ranked: it shares no seed with {best.label}"
    if len(gap.seeds) == len(row.numbers[column]) == len(best.numbers[column]):
        return ""
    which = f"seed{'s' * (len(gap.seeds) > 1)} {facts_text(gap.seeds)} alone, which it shares with {best.label}"
    return f"compared on {which}" + ("" if gap.is_tested else ": too few seeds")
