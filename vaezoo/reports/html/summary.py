"""The first screen of a data set: what was compared, the best rows, how sure that is, and what they cost."""

from dataclasses import dataclass

from vaezoo.core.columns import Column
from vaezoo.reports.html.board import Board, BoardRow
from vaezoo.reports.html.strips import Difference, Side, Strip, strips
from vaezoo.reports.number_text import number_text
from vaezoo.reports.statistics import NOTHING, summarise

MOST = 12
"""The rows whose difference to the best the first screen shows."""


@dataclass(frozen=True)
class Summaries:
    """What the first screen says. heading: of the column that decides; bars: the best rows, at most MOST; zero: where
    the best row stands; alike: how many rows cannot be told from it; costs: what the best row costs, (name, text) each.
    """

    heading: str
    best: BoardRow | None
    text: str
    alike: int
    ranked: int
    bars: tuple[Strip, ...]
    zero: float
    costs: tuple[tuple[str, str], ...]
    sure: tuple[str, ...]


def summary(board: Board) -> Summaries | None:
    """The first screen of a leaderboard; None where nothing was measured."""
    column, ranking = board.main, board.table.ranking
    if column is None or not any(each.row.has(column.name) for each in board.rows):
        return None
    best = next((each for each in board.rows if each.row is ranking.best.get(column.name)), None)
    leader = best or next(each for each in board.rows if each.row.has(column.name))
    alike = sum(name == column.name for _, name in ranking.bold) - 1
    bars, zero = strips(_differences(board, column, best))
    cells = leader.row.cells
    costs = [
        (each.heading or each.name, number_text(cells[each.name], each.style, each.unit))
        for each in board.table.columns
        if each.name in ("parameters", "train_seconds", "train_images_per_second", "own_memory_bytes")
        and cells.get(each.name, NOTHING).count
    ]
    compared = sum((each.row, column.name) in ranking.gaps for each in board.rows) + (best is not None)
    return Summaries(
        column.heading or column.name,
        best,
        number_text(cells[column.name], column.style, column.unit),
        max(alike, 0),
        compared,
        bars,
        zero,
        tuple(costs),
        tuple(ranking.notes),
    )


def _differences(board: Board, column: Column, best: BoardRow | None) -> list[Difference]:
    """The differences of the best rows to the best one."""
    gaps = {each.place: board.table.ranking.gaps.get((each.row, column.name)) for each in board.rows}
    shown = [] if best is None else [each for each in board.rows if each is best or gaps[each.place] is not None]
    made = []
    for each in shown[:MOST]:
        gap, value = gaps[each.place], _text(each, column, board)
        if gap is None:
            made.append(Difference(each.label, each.place, value, "best", "best", 0.0, 0.0, 0.0))
            continue
        side: Side = "untested" if not gap.is_tested else "told" if gap.side() else "alike"
        around = f" ± {number_text(summarise([gap.half_width]), column.style, column.unit)}" if gap.is_tested else ""
        text = f"{'+' if gap.mean > 0 else ''}{number_text(summarise([gap.mean]), column.style, column.unit)}{around}"
        made.append(Difference(each.label, each.place, value, text, side, gap.mean, gap.low, gap.high))
    return made


def _text(row: BoardRow, column: Column, board: Board) -> str:
    """The text of a row's number in a column."""
    return row.numbers[[each.name for each in board.table.columns].index(column.name)].text
