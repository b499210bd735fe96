"""How the numbers of a table came to be: seeds, K, images, device, commit and command, in one line."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from vaezoo.core.columns import ORIGIN
from vaezoo.reports.rows import TableRow, is_missing

COUNTED = ("importance_samples", "device", *ORIGIN)
"""The columns of a results frame whose values the line counts: each with its number of cells where cells differ."""
MOST = 3
"""How many values of one kind the line names."""


def measured_line(rows: Sequence[TableRow], chosen: TableRow | None, bold: bool) -> str:
    """`2 seeds · K = 1,000 · 10,000 test images · bold: not told from the best · DEVICE · commit SHA · COMMAND`.

    chosen: the row that the ranked ones are measured like. bold: whether a number is bold.
    """
    seeds = max((row.counts.total() for row in rows), default=0)
    split = " or ".join(map(str, _facts(rows, chosen, "split"))) or "test"
    parts = [f"{seeds} seed{'s' * (seeds != 1)}", *_counted(rows, "importance_samples")]
    parts += [f"{int(images):,} {split} images" for images in _facts(rows, chosen, "images")]
    precisions = _facts(rows, None, "precision")  # where there are several, remarks say which row has which
    parts += [f"precision {name}" for name in precisions if len(precisions) == 1 and name != "float32"]
    parts += ["bold: not told from the best"] * bold
    return " · ".join([*parts, *(text for name in ("device", "commit", "command") for text in _counted(rows, name))])


def data_line(rows: Sequence[TableRow], chosen: TableRow | None) -> str:
    """`Data: binary, binarisation dynamic, checksum 0af4b121d84a.`, or nothing where nothing is known."""
    parts = [str(measure) for measure in _facts(rows, chosen, "measure")]
    parts += [f"binarisation {binarisation}" for binarisation in _facts(rows, chosen, "binarisation")]
    parts += [f"checksum {str(checksum)[:12]}" for checksum in _facts(rows, chosen, "checksum")]
    return f"Data: {', '.join(parts)}." if parts else ""


def origin_lines(rows: Sequence[TableRow]) -> list[str]:
    """Every device, commit and command, each with its number of cells, where `measured_line` left any out."""
    found = ((name, _counts(rows, name)) for name in ("device", "commit", "command"))
    return [f"Every {name}: {'; '.join(_each(name, counts))}." for name, counts in found if len(counts) > MOST]


def _facts(rows: Sequence[TableRow], chosen: TableRow | None, name: str) -> list[Any]:
    """The values of a fact in the chosen row, or in all rows."""
    pool = rows if chosen is None else [chosen]
    return [v for v in dict.fromkeys(v for row in pool for v in row.facts.get(name, ())) if v is not None]


def _counts(rows: Sequence[TableRow], name: str) -> Counter[Any]:
    """How many cells have each value, most of them first."""
    total: Counter[Any] = Counter()
    for row in rows:
        total.update(row.made.get(name, {}))
    return Counter(dict(total.most_common()))


def _counted(rows: Sequence[TableRow], name: str) -> list[str]:
    """The values with most cells, each with its number of cells where there are several; nothing for no value."""
    counts = _counts(rows, name)
    shown = _each(name, counts)
    further = len(shown) - MOST
    told = shown[:MOST] + [f"{further} other {name}s (see details)"] * (further > 0)
    return [", ".join(told)] if told else []


def _each(name: str, counts: Counter[Any]) -> list[str]:
    one = len(counts) == 1
    return [_text(name, v) + ("" if one else f" ({n} cell{'s' * (n > 1)})") for v, n in counts.items()]


def _text(name: str, value: Any) -> str:
    if is_missing(value):
        return f"{name} not recorded"
    if name == "importance_samples":
        return f"K = {int(value):,}"
    if name == "commit" and (sha := re.match("[0-9a-f]{40,64}", str(value))):
        return f"commit {str(value)[:12]}{str(value)[sha.end() :]}"
    return str(value)
