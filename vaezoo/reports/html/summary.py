"""The first screen of a data set: what was compared, the best rows, how sure that is, and what they cost."""

import math
from dataclasses import dataclass

from vaezoo.core.columns import Column
from vaezoo.reports.html.board import Board, BoardRow
from vaezoo.reports.number_text import number_text
from vaezoo.reports.statistics import NOTHING, summarise

MOST = 12
"""The rows whose difference to the best the first screen shows."""


@dataclass(frozen=True)
class Bar:
    """The difference of a row to the best one, as shares of the width: its place, and the ends of its interval.

    cut: whether an end lies outside. side: `best`, `alike` (its interval holds 0), `told` (it does not), or `untested`.
    """

    row: BoardRow
    text: str
    gap: str
    side: str
    place: float
    low: float
    high: float
    cut_low: bool
    cut_high: bool


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
    bars: tuple[Bar, ...]
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
    bars, zero = _bars(board, column, best)
    cells = leader.row.cells
    costs = [
        (each.heading or each.name, number_text(cells[each.name], each.style, each.unit))
        for each in board.table.columns
        if each.name in ("parameters", "train_seconds", "train_images_per_second", "peak_memory_bytes")
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


def _bars(board: Board, column: Column, best: BoardRow | None) -> tuple[tuple[Bar, ...], float]:
    """The differences to the best row as bars, and where 0 is."""
    if best is None:
        return (), 0.0
    gaps = {each.place: board.table.ranking.gaps.get((each.row, column.name)) for each in board.rows}
    shown = [each for each in board.rows if each is best or gaps[each.place] is not None][:MOST]
    means = [0.0, *(gap.mean for each in shown if (gap := gaps[each.place]) is not None and math.isfinite(gap.mean))]
    halves = [g.half_width for each in shown if (g := gaps[each.place]) is not None and math.isfinite(g.half_width)]
    span = max(max(means) - min(means), 1e-12)
    room = min(max(halves, default=0.0), 0.5 * span) + 0.04 * span
    start, width = min(means) - room, span + 2 * room

    def share(value: float) -> float:
        """Where a difference stands, from 0 to 1."""
        return round(min(max((value - start) / width, 0.0), 1.0), 4)

    bars = []
    for each in shown:
        gap = gaps[each.place]
        text = board_text(each, column, board)
        if gap is None:
            bars.append(Bar(each, text, "best", "best", share(0.0), share(0.0), share(0.0), False, False))
            continue
        side = "untested" if not gap.is_tested else "told" if gap.side() else "alike"
        around = f" ± {number_text(summarise([gap.half_width]), column.style, column.unit)}" if gap.is_tested else ""
        difference = number_text(summarise([gap.mean]), column.style, column.unit)
        sign = "+" if gap.mean > 0 else ""
        cut = gap.low < start, gap.high > start + width
        ends = share(gap.low), share(gap.high)
        bars.append(Bar(each, text, f"{sign}{difference}{around}", side, share(gap.mean), *ends, *cut))
    return tuple(bars), share(0.0)


def board_text(row: BoardRow, column: Column, board: Board) -> str:
    """The text of a row's number in a column."""
    return row.numbers[[each.name for each in board.table.columns].index(column.name)].text
