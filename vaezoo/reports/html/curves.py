"""Learning curves with bands over seeds, and the quality at equal epochs beside that at equal seconds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from vaezoo.reports.html.folders import Cell
from vaezoo.reports.statistics import Summary, summarise

MEASURED = {"validation_iwll": "validation iwll (nats)", "objective": "training objective (nats)"}
"""What a history holds for each epoch, beside the seconds."""
MOST_POINTS = 60
"""The points of a curve in the page."""


@dataclass(frozen=True)
class Budget:
    """What every row could spend: the epochs of the shortest training, and the seconds in which the quickest row has
    trained all of its seeds.
    """

    epochs: int
    seconds: float


def histories(cells: Sequence[Cell]) -> list[Mapping[str, list[float]]]:
    """The history of each ok seed, with NaN for what is missing."""
    found = (cell.record.history for cell in cells if cell.record is not None and cell.is_ok)
    plain = ({name: [math.nan if v is None else v for v in values] for name, values in each.items()} for each in found)
    return [each for each in plain if len(each.get("seconds", ())) and "validation_iwll" in each]


def curve(cells: Sequence[Cell]) -> dict[str, Any] | None:
    """The curves of a row: epochs and mean seconds, and the mean, low and high end of each quantity over its seeds, as
    far as all seeds have come. None where no seed has a history.
    """
    found = histories(cells)
    if not found:
        return None
    length = min(len(values) for each in found for values in each.values())
    at = np.unique(np.linspace(0, length - 1, min(length, MOST_POINTS)).round().astype(int)).tolist()
    seconds = [summarise(each["seconds"][epoch] for each in found).mean for epoch in at]
    curves: dict[str, Any] = {"epochs": [epoch + 1 for epoch in at], "seconds": numbers(seconds), "seeds": len(found)}
    for name in MEASURED:
        if all(name in each for each in found):
            summaries = [summarise(each[name][epoch] for each in found) for epoch in at]
            curves[name] = ends(summaries)
    return curves


def ends(summaries: Sequence[Summary]) -> list[list[float | None]]:
    """The means, low and high ends of some summaries, for the page's script."""
    return [numbers([getattr(each, part) for each in summaries]) for part in ("mean", "low", "high")]


def numbers(values: Sequence[float]) -> list[float | None]:
    """The numbers with six digits; None where one is not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def budget(rows: Sequence[Sequence[Cell]]) -> Budget | None:
    """What every row with a history could spend; None where fewer than two rows have one."""
    found = [histories(cells) for cells in rows]
    able = [row for row in found if row]
    if len(able) < 2:
        return None
    epochs = min(len(each["seconds"]) for row in able for each in row)
    return Budget(epochs, min(max(each["seconds"][-1] for each in row) for row in able))


def at_budget(cells: Sequence[Cell], spent: Budget) -> tuple[Summary, Summary, Summary]:
    """The best validation iwll of a row over its seeds: within the epochs, within the seconds, and in all of its
    training.
    """
    found = [
        list(zip(_best_so_far(each["validation_iwll"]), each["seconds"], strict=False)) for each in histories(cells)
    ]
    epochs = summarise(each[spent.epochs - 1][0] for each in found)
    seconds = summarise(_last([best for best, at in each if at <= spent.seconds]) for each in found)
    return epochs, seconds, summarise(each[-1][0] for each in found)


def _last(best: Sequence[float]) -> float:
    return best[-1] if best else math.nan


def _best_so_far(values: Sequence[float]) -> Iterator[float]:
    """NaN before the first value."""
    best = accumulate((-math.inf if math.isnan(value) else value for value in values), max)
    return (value if value > -math.inf else math.nan for value in best)
