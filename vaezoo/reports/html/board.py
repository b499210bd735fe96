"""The leaderboard of one data set: its rows and columns as texts, and what the page's script sorts and copies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaezoo.core.columns import COSTS, QUALITY, TIMED, Column
from vaezoo.core.visible_text import one_line, visible
from vaezoo.registry import PARTS
from vaezoo.reports import formats
from vaezoo.reports.html.folders import Cell
from vaezoo.reports.number_text import number_text
from vaezoo.reports.rows import TableRow
from vaezoo.reports.statistics import NOTHING, Summary
from vaezoo.reports.tables import Table

SPEEDS = frozenset(column.name for column in (*TIMED, *COSTS))
_AT_FIRST = frozenset(
    (
        "iwll",
        "elbo",
        "bits_per_dim",
        "kl",
        "active_units",
        "train_images_per_second",
        "own_memory_bytes",
        "train_seconds",
    )
)
_FACTS = ("label", "variant", "dataset", "status", "seeds", "reason")
"""The columns of a copied CSV besides the numbers."""
_STANDARD = SPEEDS | {column.name for column in QUALITY}


@dataclass(frozen=True)
class Number:
    """A number of the leaderboard: its text, its value for sorting, and whether it cannot be told from the best."""

    text: str
    value: float | None
    bold: bool


@dataclass(frozen=True)
class BoardRow:
    """A row of the leaderboard.

    place: its anchor in the page. rank: by the main column, where it is ranked. proof: `proved`, `not proved`, or
    `fails`, empty where it has no results. slots: the plugin of each slot.
    """

    place: str
    row: TableRow
    rank: int | None
    numbers: tuple[Number, ...]
    marks: tuple[tuple[str, str], ...]
    proof: str
    slots: Mapping[str, str]
    cells: tuple[Cell, ...]

    @property
    def label(self) -> str:
        """What the row is called."""
        return self.row.label


@dataclass(frozen=True)
class Board:
    """The leaderboard of a data set: ranked rows first, the best at the top, then the others, then the references.

    main: the column that the rows are first sorted by, None where nothing was measured. slots: those whose plugins
    differ between rows, with their plugins. hidden: the columns that the page does not show at first.
    """

    table: Table
    rows: tuple[BoardRow, ...]
    references: tuple[BoardRow, ...]
    main: Column | None
    slots: Mapping[str, tuple[str, ...]]
    hidden: frozenset[str]

    def script(self) -> dict[str, Any]:
        """What the page's script needs to copy a table: its texts as LaTeX and as CSV."""
        columns = self.table.columns
        places = {column.name: place for place, column in enumerate(columns)}
        sheet, every = self.table.sheets[0], [*self.rows, *self.references]
        notes = list(self.table.letters)
        names = [f"{column.name}_{end}" for column in columns for end in ("mean", "low", "high")]
        frame = self.table.frame()[[*_FACTS, *names]]
        csv = {
            row: list(map(_csv, values)) for row, values in zip(self.table.rows, frame.to_numpy(object), strict=True)
        }
        return {
            "latex": {
                "lead": [f"% {one_line(text)}" for text in (sheet.title, *sheet.lead)],
                "headings": list(map(formats.escape_latex, sheet.headings)),
                "columns": [places.get(name) for name in sheet.names],
                "rows": {each.place: self._latex(each, sheet.names) for each in every},
                "notes": [rf"\noindent {formats.escape_latex(text)}\par" for text in self.table.notes],
                "noted": {each.place: [notes.index(text) for _, text in each.marks] for each in every},
            },
            "csv": {
                "facts": _FACTS,
                "names": [column.name for column in columns],
                "rows": {each.place: csv[each.row] for each in every},
            },
        }

    def _latex(self, row: BoardRow, names: Sequence[str]) -> list[str]:
        """The cells of a row under these names of the sheet's columns."""
        marks = " ".join(mark for mark, _ in row.marks)
        texts = {"label": row.label, "rank": f"{row.rank or ''}", "seeds": row.row.seeds, "marks": marks}
        made = {name: formats.escape_latex(text) for name, text in texts.items()}
        for column, number in zip(self.table.columns, row.numbers, strict=True):
            text = formats.escape_latex(number.text)
            made[column.name] = rf"\textbf{{{text}}}" if number.bold else text
        return [made[name] for name in names]


def _csv(value: Any) -> str:
    """A value as one field of a CSV line."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    text = str(formats.escape_csv(str(value)))
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text


def board(table: Table, place: str, cells: Mapping[str, Sequence[Cell]]) -> Board:
    """The leaderboard of a table. place: the start of the anchors of its rows; cells: those of each label."""
    main = main_column(table)
    own = [row for row in table.rows if not row.reference]
    ordered = sorted(own, key=lambda row: _order(table, row, main))
    rows = [_row(table, row, main, f"{place}-{n}", cells.get(row.label, ())) for n, row in enumerate(ordered)]
    given = [row for row in table.rows if row.reference]
    references = [_row(table, row, main, f"{place}-ref{n}", ()) for n, row in enumerate(given)]
    chosen = {slot: tuple(sorted({row.slots[slot] for row in rows if slot in row.slots})) for slot in PARTS}
    minor = [column for column in table.columns if column.name in _STANDARD or not column.better]
    hidden = {column.name for column in minor if column.name not in _AT_FIRST}
    if all(row.facts.get("measure") == ("binary",) for row in own if row.has("iwll")):
        hidden.add("bits_per_dim")  # a constant times the iwll
    return Board(
        table,
        tuple(rows),
        tuple(references),
        main,
        {slot: names for slot, names in chosen.items() if len(names) > 1},
        frozenset(hidden),
    )


def main_column(table: Table) -> Column | None:
    """The column whose best is bold, likelihoods first; else the first that has a better direction, or any."""
    ranked = [column for column in table.columns if column.name in table.ranking.best and column.name not in SPEEDS]
    scored = [column for column in table.columns if column.ranked_by and column.name not in SPEEDS]
    return next(iter([*ranked, *scored, *table.columns]), None)


def _order(table: Table, row: TableRow, main: Column | None) -> tuple[bool, float, bool, float]:
    value = math.nan if main is None else row.cells.get(main.name, NOTHING).mean
    missing = math.isnan(value)
    better = (main.better or 1) if main else 1
    unranked = bool(table.ranking.ranked) and row not in table.ranking.ranked
    return unranked, _rank(table, row, main) or math.inf, missing, 0.0 if missing else -better * value


def _rank(table: Table, row: TableRow, main: Column | None) -> int | None:
    return None if main is None else table.ranking.places.get((row, main.name))


def _row(table: Table, row: TableRow, main: Column | None, place: str, cells: Sequence[Cell]) -> BoardRow:
    marks = tuple((table.letters[text], text) for text in table.remarks.get(row, ()))
    proof = "fails" if row.disproved else "proved" if row.proved else "not proved" if row.counts["ok"] else ""
    slots = next((cell.record.specification.slots for cell in cells if cell.record is not None), {})
    shown = {slot: choice_text(*choice) for slot, choice in slots.items()}
    numbers = tuple(_number(table, row, column) for column in table.columns)
    return BoardRow(place, row, _rank(table, row, main), numbers, marks, proof, shown, tuple(cells))


def choice_text(name: str, options: Mapping[str, Any]) -> str:
    """A part with its hyper-parameters: `mixture (components=10)`."""
    given = ", ".join(f"{key}={value}" for key, value in options.items())
    return visible(f"{name} ({given})" if given else name)


def _number(table: Table, row: TableRow, column: Column) -> Number:
    summary: Summary = row.cells.get(column.name, NOTHING)
    value = None if math.isnan(summary.mean) else summary.mean
    text = number_text(summary, column.style, column.unit)
    return Number(text, value, (row, column.name) in table.ranking.bold)
