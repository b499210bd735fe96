"""The tables of `vaezoo compare`: the rows in the mean, and the cells that changed."""

import math
from collections.abc import Sequence

from vaezoo.core.columns import Column
from vaezoo.reports.changes import Change
from vaezoo.reports.formats import Line, Sheet
from vaezoo.reports.number_text import number_text
from vaezoo.reports.pairs import Pair
from vaezoo.reports.statistics import Paired, Summary, summarise


def comparison_sheets(changes: Sequence[Change], cells: Sequence[Pair], columns: Sequence[Column]) -> list[Sheet]:
    """For each data set the rows in the mean, then the cells that changed. Numbers that are the same are left out."""
    found = []
    for dataset in dict.fromkeys([*(change.dataset for change in changes), *(pair.key[2] for pair in cells)]):
        if told := [change for change in changes if change.dataset == dataset and _shown(change)]:
            found.append(_mean_sheet(dataset, told))
        if changed := [pair for pair in cells if pair.key[2] == dataset and not pair.same]:
            found.append(_cell_sheet(dataset, changed, columns))
    return found


def loss_text(change: Change) -> str:
    """A loss in words: `vae on digits: iwll (nats) -0.52 ± 0.09`."""
    what = f"{change.label} on {change.dataset}: {change.column.heading or change.column.name}"
    if change.ratio is not None:
        return f"{what} x {change.ratio:.3f}"
    if change.seeds is not None:
        return f"{what} {_text(change.seeds, change.column)}"
    return what if change.images is None else f"{what} {_text(change.images, change.column, ends=True)} over images"


def _shown(change: Change) -> bool:
    """Whether a table shows the change: equal numbers are left out."""
    return change.verdict != "same" and change.ratio != 1


def _mean_sheet(dataset: str, changes: Sequence[Change]) -> Sheet:
    """The rows of a data set in the mean: a line for each column that changed."""
    headings = ["label", "measured", "A", "B", "B - A", "over images", "seeds", "p (Holm)", "verdict"]
    lines = []
    for change in changes:
        column = change.column
        shown = [number_text(side, column.style, column.unit) for side in (change.before, change.after)]
        if change.ratio is not None:
            difference, seeds = f"x {change.ratio:.3f}", ""
        else:
            seeds = str(change.before.count or "")
            difference = _text(change.seeds or _single(change.after.mean - change.before.mean), column)
        images = "" if change.images is None else _text(change.images, column, ends=True)
        p = "" if change.p is None else f"{change.p:.2g}"
        verdict = change.verdict + (f": {change.reason}" if change.reason and change.verdict == "not judged" else "")
        texts = (change.label, column.title, *shown, difference, images, seeds, p, verdict)
        lines.append(Line(texts, frozenset([len(texts) - 1] if change.is_loss else [])))
    return Sheet(dataset, [], headings, lines, [], [])


def _cell_sheet(dataset: str, pairs: Sequence[Pair], columns: Sequence[Column]) -> Sheet:
    """The cells of a data set that changed: B - A in each judged column."""
    shown = [c for c in columns if any(c.name in p.before.numbers and c.name in p.after.numbers for p in pairs)]
    lines = []
    for pair in pairs:
        old, new = pair.before, pair.after
        status = old.status if old.status == new.status else f"{old.status} -> {new.status}"
        texts = [str(pair.key[0]), str(pair.key[3]), status]
        for column in shown:
            able = column.name in old.numbers and column.name in new.numbers and not pair.unlike(column)
            difference = new.numbers[column.name] - old.numbers[column.name] if able else math.nan
            texts.append(_text(_single(difference), column))
        lines.append(Line(tuple(texts)))
    headings = ["label", "seed", "status", *(f"{column.heading or column.name}: B - A" for column in shown)]
    return Sheet(f"{dataset}: the cells that changed", [], headings, lines, [], [])


def _text(found: Paired | Summary, column: Column, *, ends: bool = False) -> str:
    """A difference: `-0.52 ± 0.09`, or the `ends` of its interval, `-0.61 .. -0.43`, or without one its value."""
    alone = isinstance(found, Summary)
    summary = Summary(
        found.mean, found.low, found.high, found.count, "single" if alone else "range" if ends else "interval"
    )
    return number_text(summary, "plain", column.unit)


def _single(value: float) -> Summary:
    return summarise([value])
