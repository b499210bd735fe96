"""The cells of two results folders side by side: which cells match, and how their records differ."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.core.columns import MUST_AGREE, TIMED, Column, table_columns
from vaezoo.reports.contest import mean_difference
from vaezoo.reports.images import stored_images
from vaezoo.reports.rows import is_missing, refuse_twice, setting_text
from vaezoo.runner.records import Record
from vaezoo.runner.results import read_results
from vaezoo.runner.store import Store

Key = tuple[str, str, str, int | None]
"""What two cells must share to be compared: label, variant, data set, seed (None: the timing)."""

_CIRCUMSTANTIAL = frozenset((*(column.name for column in TIMED), "train_seconds"))
"""The columns that differ between two runs of the same cell."""

_MODEL = ("precision", "pseudo_likelihood")
_MEASUREMENT = MUST_AGREE["estimate"] + _MODEL
"""All facts that say how a cell was measured. MUST_AGREE says which of them a column needs, beside those of _MODEL."""


@dataclass(frozen=True)
class Measured:
    """A cell or a timing of one folder.

    numbers: the finite number of each column. lost: the columns that were measured without a finite number. facts: how
    it was measured. record: None where it has none.
    """

    key: Key
    stem: str
    status: str
    reason: str | None
    numbers: Mapping[str, float] = field(repr=False)
    lost: frozenset[str] = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)
    record: Record | None = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether it has a result."""
        return self.status == "ok"


@dataclass(frozen=True)
class Folder:
    """The cells and the timings of a results folder by key, and its measured columns."""

    store: Store
    cells: Mapping[Key, Measured]
    timings: Mapping[Key, Measured]
    columns: Sequence[Column]


@dataclass(frozen=True)
class Pair:
    """A cell, or a timing, that both folders have."""

    before: Measured
    after: Measured

    @property
    def key(self) -> Key:
        """The key of both."""
        return self.before.key

    @property
    def title(self) -> str:
        """`vae on digits, seed 0`, or `vae on digits, timing`."""
        return title(self.key)

    @property
    def both_ok(self) -> bool:
        """Whether both have a result."""
        return self.before.ok and self.after.ok

    @property
    def same(self) -> bool:
        """Whether both have the same status and the same results, measured alike; times and memory do not count."""
        old, new = (
            {name: value for name, value in side.numbers.items() if name not in _CIRCUMSTANTIAL}
            for side in (self.before, self.after)
        )
        return self.before.status == self.after.status and old == new and not self._differences(_MEASUREMENT)

    def unlike(self, column: Column) -> str:
        """Why the two numbers of this column cannot be compared; empty where they can be."""
        if column.ranked_by == "device":
            return self.other_device
        return self._differences(MUST_AGREE[column.ranked_by or "data"] + _MODEL)

    @property
    def other_device(self) -> str:
        """Why speeds and memory cannot be compared; empty where they can be."""
        found = self._differences(MUST_AGREE["device"])
        return f"other {found}" if found else ""

    def _differences(self, names: Sequence[str]) -> str:
        """The facts of these names in which the two differ, in words."""
        told = []
        for name in names:
            old, new = (side.facts.get(name) for side in (self.before, self.after))
            if old != new:
                told.append(f"{name} {setting_text(old)} -> {setting_text(new)}")
        return "; ".join(told)

    def settings(self) -> Iterator[str]:
        """The settings, the plugins' code and the circumstances in which the two records differ, in words."""
        if self.before.record is None or self.after.record is None:
            return
        old, new = _settings(self.before.record), _settings(self.after.record)
        for name in dict.fromkeys([*old, *new]):
            if old.get(name) != new.get(name):
                if name.startswith("code."):
                    yield f"code of {name.removeprefix('code.')}"
                else:
                    yield f"{name} {setting_text(old.get(name))} -> {setting_text(new.get(name))}"


def title(key: Key) -> str:
    """`vae on digits, seed 0`, or `vae on digits, timing`."""
    label, _, dataset, seed = key
    return f"{label} on {dataset}, {'timing' if seed is None else f'seed {seed}'}"


def read_folder(path: str | Path) -> Folder:
    """The cells of a results folder. VaezooError where it holds no results, or has a cell twice."""
    store, frame = Store(path), read_results(path)
    refuse_twice(frame)
    stored = store.plan().cells
    columns = [Column.from_json(column) for column in frame.attrs.get("columns", ())] or table_columns()
    names = [column.name for column in columns if column.name in frame]
    cells: dict[Key, Measured] = {}
    timings: dict[Key, Measured] = {}
    for cell, row in zip(stored, frame.to_dict("records"), strict=True):
        key = (cell.label, cell.variant, cell.dataset, cell.seed)
        record = store.record("cells", cell.stem)
        numbers = {name: float(row[name]) for name in names if not is_missing(row[name]) and math.isfinite(row[name])}
        lost = frozenset() if record is None else frozenset(record.results) - set(numbers)
        reason = None if is_missing(row["reason"]) else str(row["reason"])
        facts = {str(name): None if is_missing(value) else value for name, value in row.items()}
        cells[key] = Measured(key, cell.stem, str(row["status"]), reason, numbers, lost, facts, record)
        key = (*key[:3], None)
        if cell.timing and key not in timings:
            timings[key] = _timing(key, cell.timing, store.record("timings", cell.timing))
    return Folder(store, cells, timings, columns)


def _timing(key: Key, stem: str, record: Record | None) -> Measured:
    if record is None:
        return Measured(key, stem, "missing", None, {}, frozenset(), {}, None)
    numbers = {
        name: float(value)
        for name, value in record.results.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    facts = {"device": record.device, "precision": record.precision}
    return Measured(key, stem, record.status, record.reason, numbers, frozenset(), facts, record)


def paired(before: Mapping[Key, Measured], after: Mapping[Key, Measured]) -> list[Pair]:
    """The cells that both have, in the order of `before`."""
    return [Pair(cell, after[key]) for key, cell in before.items() if key in after]


def image_differences(pairs: Sequence[Pair], column: str, before: Store, after: Store) -> np.ndarray | None:
    """The mean over these pairs of after - before for each test image; None where a pair lacks them, or a value is not
    finite.
    """

    def values(store: Store, cell: Measured) -> np.ndarray | None:
        return stored_images(store, cell.stem, cell.record, column)

    return mean_difference([(values(after, pair.after), values(before, pair.before)) for pair in pairs])


def _settings(record: Record) -> dict[str, Any]:
    """The specification without its seed, a dotted name each, and what the cell was run with."""
    told = _flat({name: value for name, value in record.specification.to_json().items() if name != "seed"})
    if record.provenance is not None:
        names = ("vaezoo", "torch", "python", "device", "threads")
        told |= {name: getattr(record.provenance, name) for name in names}
    return told


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A nested mapping with dotted names. The part of a slot is a name with its options."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        where = f"{before}{name}"
        if isinstance(value, Mapping):
            found |= _flat(value, f"{where}.")
        elif before == "slots.":
            part, options = value
            found |= {where.removeprefix("slots."): part} | _flat(options, f"{where.removeprefix('slots.')}.")
        else:
            found[where] = value
    return found
