"""The lines of `vaezoo compare`: cells that were lost, what only one folder has, what is not comparable, settings."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from vaezoo.core.columns import PROOFS, Column
from vaezoo.reports.pairs import Folder, Pair

Row = tuple[str, str, str]
"""Label, variant and data set."""


def lost_cells(pairs: Sequence[Pair]) -> Iterator[str]:
    """The cells and timings that were ok and are not."""
    for pair in pairs:
        if pair.before.ok and not pair.after.ok:
            yield _status(pair)


def changed_status(pairs: Sequence[Pair]) -> Iterator[str]:
    """The other cells whose status changed."""
    for pair in pairs:
        if not pair.before.ok and pair.before.status != pair.after.status:
            yield _status(pair)


def _status(pair: Pair) -> str:
    reason = f" ({pair.after.reason})" if pair.after.reason else ""
    return f"{pair.title}: {pair.before.status} -> {pair.after.status}{reason}"


def lost_numbers(pairs: Sequence[Pair], columns: Sequence[Column]) -> Iterator[str]:
    """The cells whose number is no longer finite. (A metric that was not asked for is a note.)"""
    for pair in pairs:
        for column in columns if pair.both_ok else ():
            if column.name in pair.before.numbers and column.name in pair.after.lost:
                yield f"{pair.title}: {column.name} is no number any more"


def unmatched(old: Folder, new: Folder) -> Iterator[str]:
    """The cells that one folder has and the other has not, a line for each row."""
    for mine, other, side in ((old, new, "A"), (new, old, "B")):
        rows: dict[Row, list[str]] = {}
        for key in mine.cells:
            if key not in other.cells:
                rows.setdefault(key[:3], []).append(str(key[3]))
        for (label, _, dataset), seeds in rows.items():
            yield f"only {side} has {label} on {dataset}{_of_seeds(seeds)}"


def half_measured(pairs: Sequence[Pair], names: Iterable[str]) -> Iterator[str]:
    """The columns that only one side of a pair measured, a line for each column."""
    for name in names:
        for sides, letter in ((("before", "after"), "A"), (("after", "before"), "B")):
            rows = set()
            for pair in pairs:
                mine, other = (getattr(pair, side) for side in sides)
                if pair.both_ok and name in mine.numbers and name not in other.numbers and name not in other.lost:
                    rows.add(pair.key[:3])
            if rows:
                yield f"only {letter} has {name}{_of(rows, pairs)}"


def differing_settings(pairs: Sequence[Pair]) -> Iterator[str]:
    """The settings in which the two folders differ, a line for each difference."""
    rows: dict[str, set[Row]] = {}
    for pair in pairs:
        for difference in pair.settings():
            rows.setdefault(difference, set()).add(pair.key[:3])
    for difference, of in rows.items():
        yield f"differs: {difference}{_of(of, pairs)}"


def incomparable(pairs: Sequence[Pair], columns: Sequence[Column]) -> Iterator[str]:
    """Why numbers are not compared, a line for each row and reason."""
    found: dict[tuple[Row, str], tuple[dict[str, None], dict[str, None]]] = {}
    for pair in pairs:
        for column in columns if pair.both_ok else ():
            measured = column.name in pair.before.numbers and column.name in pair.after.numbers
            if measured and (reason := pair.unlike(column)):
                names, seeds = found.setdefault((pair.key[:3], reason), ({}, {}))
                names[column.name] = None
                seeds |= {} if pair.key[3] is None else {str(pair.key[3]): None}
    for ((label, _, dataset), reason), (names, seeds) in found.items():
        yield f"not comparable: {label} on {dataset}{_of_seeds(seeds)}: {', '.join(names)}: {reason}"


def without_proof(old: Folder, new: Folder) -> Iterator[str]:
    """Which plugins of either folder's ok cells have no passing check, as a table marks it."""
    for folder, side in ((old, "A"), (new, "B")):
        told = (cell.facts.get(name) for cell in folder.cells.values() if cell.ok for name in PROOFS)
        yield from (f"in {side}: {text}" for text in dict.fromkeys(told) if text is not None)


def _of_seeds(seeds: Collection[str]) -> str:
    """`, seed 0`, or `, seeds 0, 1`, or nothing for a timing."""
    return f", seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}" if seeds else ""


def _of(rows: set[Row], pairs: Sequence[Pair]) -> str:
    """` (all rows)`, or the rows in the order of the pairs."""
    every = dict.fromkeys(pair.key[:3] for pair in pairs)
    told = ", ".join(f"{row[0]} on {row[2]}" for row in every if row in rows)
    return " (all rows)" if len(rows) == len(every) > 1 else f" ({told})"
