"""What a report says of one data set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vaezoo.core.columns import Column
from vaezoo.reports.html.board import SPEEDS, Board, BoardRow, board
from vaezoo.reports.html.commands import reproducing
from vaezoo.reports.html.curves import MEASURED, Budget, at_budget, budget, curve
from vaezoo.reports.html.details import AuditLine, audit_lines, audit_state, commits, model_facts
from vaezoo.reports.html.effects import EffectSection, effect_section
from vaezoo.reports.html.estimator import Estimate, estimate
from vaezoo.reports.html.folders import Results
from vaezoo.reports.html.pictures import Picture, pictures_of
from vaezoo.reports.html.summary import Summaries, summary
from vaezoo.reports.html.vectors import iwll_curve, spectrum
from vaezoo.reports.number_text import number_text
from vaezoo.reports.pictures import stored_pictures
from vaezoo.reports.rows import facts_text
from vaezoo.reports.tables import Table

MOST_PICTURES = 24
"""The best rows of a data set whose pictures are in the page; the others' are in the folder `figures/`."""


@dataclass(frozen=True)
class Equal:
    """A row at equal epochs, at equal seconds, and after all of its training: the best validation iwll so far."""

    row: BoardRow
    epochs: str
    seconds: str
    whole: str


@dataclass(frozen=True)
class Detail:
    """What a row is and how to run it again."""

    facts: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]
    commits: tuple[str, ...]
    audit: tuple[AuditLine, ...]
    audit_state: str


@dataclass(frozen=True)
class Part:
    """One data set. place: the start of its anchors; drawn: the name of a plot -> the numbers of each row, or None."""

    place: str
    table: Table
    board: Board
    summary: Summaries | None
    drawn: Mapping[str, Mapping[str, Any]]
    budget: Budget | None
    equal: tuple[Equal, ...]
    estimates: tuple[tuple[BoardRow, Estimate], ...]
    pictures: tuple[tuple[BoardRow, list[Picture]], ...]
    left_out: int
    effects: EffectSection | None
    details: Mapping[str, Detail]

    def has(self, name: str) -> bool:
        """Whether a plot of this name has numbers of a row."""
        return any(each is not None for each in self.drawn[name].values())

    def shows(self, anchor: str) -> bool:
        """Whether the data set has the section of this anchor."""
        asked = {"speed": self.has_costs, "learning": self.has("curves"), "estimator": bool(self.estimates)}
        asked["effects"] = self.effects is not None
        return asked.get(anchor, True)

    def note(self, remark: str) -> int:
        """The number of a remark below the leaderboard."""
        return list(self.table.letters).index(remark)

    @cached_property
    def has_costs(self) -> bool:
        """Whether there is a quality to be drawn against a speed or a cost."""
        names = {column.name for column in self.table.columns}
        return bool(names & SPEEDS) and any(
            column.better and column.name not in SPEEDS for column in self.table.columns
        )

    @property
    def has_ais(self) -> bool:
        """Whether a row has an estimate by annealed importance sampling."""
        return any(found.ais for _, found in self.estimates)

    @property
    def over_images(self) -> bool:
        """Whether the ranking's intervals cover the test images too."""
        return any(gap.images for gap in self.table.ranking.gaps.values())

    def script(self) -> dict[str, Any]:
        """The numbers that the page's script sorts, copies and draws."""
        rows, columns, ranked = self.board.rows, self.table.columns, self.table.ranking.ranked
        devices, common = _devices(self.table, rows)
        return {
            "labels": {row.place: row.label for row in rows},
            "main": None if self.board.main is None else self.board.main.name,
            "columns": [_column(column) for column in columns],
            "numbers": {row.place: [_ends(row, column) for column in columns] for row in rows},
            "competes": {row.place: row.row in ranked for row in rows},
            "devices": devices,
            "device": common,
            "measured": MEASURED,
            "budget": None if self.budget is None else vars(self.budget),
            "drawn": self.drawn,
            **self.board.script(),
        }


def _devices(table: Table, rows: Sequence[BoardRow]) -> tuple[dict[str, str], str]:
    """The device of each row by its place, and the one that most ranked rows share; "" where none is ranked."""
    devices = {row.place: facts_text(row.row.facts.get("device", ())) for row in rows}
    common = Counter(devices[row.place] for row in rows if row.row in table.ranking.ranked).most_common(1)
    return devices, common[0][0] if common else ""


def _alike(table: Table, rows: Sequence[BoardRow]) -> list[BoardRow]:
    """The rows that are ranked together and ran on the device that most of these share; all where none is ranked."""
    devices, common = _devices(table, rows)
    ranked = table.ranking.ranked
    return [row for row in rows if not ranked or (row.row in ranked and devices[row.place] == common)]


def part(table: Table, place: str, results: Results) -> Part:
    """What the report says of the data set of a table."""
    cells = {label: found for (dataset, label), found in results.cells.items() if dataset == table.dataset}
    made = board(table, place, cells)
    rows = made.rows
    alike = _alike(table, rows)
    spent = budget([row.cells for row in alike])
    sources = {row.place: results.sources[table.dataset, row.label] for row in rows}
    equal = [] if spent is None else [_equal(row, spent) for row in alike]
    found = [(row, estimate(row.row, row.cells, sources[row.place].store)) for row in rows]
    pictures = [(row, shown) for row in rows if (shown := _pictures(row, sources[row.place].store.folder))]
    return Part(
        place,
        table,
        made,
        summary(made),
        {
            "curves": {row.place: curve(row.cells) for row in rows},
            "kl": {row.place: spectrum(row.cells, "kl_per_dimension") for row in rows},
            "units": {row.place: spectrum(row.cells, "mean_variances") for row in rows},
            "iwll": {row.place: iwll_curve(row.cells) for row in rows},
        },
        spent,
        tuple(each for each in equal if each is not None),
        tuple((row, each) for row, each in found if each is not None),
        tuple(pictures[:MOST_PICTURES]),
        max(0, len(pictures) - MOST_PICTURES),
        effect_section(table.dataset, table.rows),
        {row.place: _detail(row, sources[row.place].label) for row in rows},
    )


def _detail(row: BoardRow, label: str) -> Detail:
    cells = row.cells
    told = tuple(model_facts(cells)), tuple(reproducing(cells, label)), tuple(commits(cells))
    return Detail(*told, tuple(audit_lines(cells)), audit_state(cells))


def _equal(row: BoardRow, spent: Budget) -> Equal | None:
    found = at_budget(row.cells, spent)
    most = found[2].count
    texts = (number_text(e, "nats") + (f" ({e.count} of {most} seeds)" if 0 < e.count < most else "") for e in found)
    return Equal(row, *texts) if most else None


def _pictures(row: BoardRow, folder: Path) -> list[Picture]:
    """The pictures of the first seed that has some."""
    for cell in row.cells:
        found = stored_pictures(folder, cell.plan.stem)
        if found is not None:
            return pictures_of(vars(found), row.label)
    return []


def _column(column: Column) -> dict[str, Any]:
    """A column for the script. A cost without a direction of its own is better where it is lower."""
    is_cost = column.name in SPEEDS
    better = column.better or (-1 if is_cost else 0)
    return {"name": column.name, "heading": column.heading or column.name, "better": better, "cost": is_cost}


def _ends(row: BoardRow, column: Column) -> list[float] | None:
    """Mean, low and high of a number, in the units of the table; None where there is none."""
    found = row.row.cells.get(column.name)
    if found is None or not found.count:
        return None
    return [float(f"{value / column.unit:.6g}") for value in (found.mean, found.low, found.high)]
