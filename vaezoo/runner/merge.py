"""Joins the results folders of the shards of one matrix."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vaezoo.core.columns import TIMED
from vaezoo.core.errors import VaezooError
from vaezoo.runner.claims import claimed
from vaezoo.runner.files import LARGEST_LOG, LARGEST_WEIGHTS, DamagedFile, read_blocks, write_atomically
from vaezoo.runner.plan.cell import Kind
from vaezoo.runner.plan.stored import StoredCell, StoredPlan
from vaezoo.runner.records import Record
from vaezoo.runner.store import LARGEST_IMAGES, LARGEST_PICTURES, LARGEST_RECORD, Store
from vaezoo.runner.verdicts import FOLDER, keep, read_verdict

CIRCUMSTANCES = frozenset((*(column.name for column in TIMED), "train_seconds"))
"""Results that two runs of one cell may differ in: times and memory."""


@dataclass
class Merged:
    """What a merge did. folder: the joined results. records: how many it wrote. conflicts: a line for each cell that
    two folders have different final results of. left_out: a line for each damaged file that belongs to a record.
    """

    folder: Path
    records: int = 0
    conflicts: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def merge(folders: Sequence[str | Path], out: str | Path) -> Merged:
    """Join results folders of one matrix into `out`: records with their weights, per-image values, logs, pictures and
    timings, and the verdicts on their plugins.

    out: may exist, and be one of the folders; what it has then is kept. Of a cell, an ok record is taken before one
    that diverged, that before any other, and among equals that of `out`, then of the first folder. Two final records
    of a cell whose results differ, times and memory apart, are a conflict: it is reported, and the first one stays.
    Damaged records are left out, each with a VaezooWarning. The tables are not written.

    Raises VaezooError where a folder holds no results, or those of another plan, or another run writes to `out`.
    """
    target = Store(out)
    sources = [Store(folder) for folder in folders]
    if not sources:
        raise VaezooError("merge needs at least one results folder to read")
    plans = [source.plan() for source in sources]
    own = target.folder.resolve()
    sources = [source for source in sources if source.folder.resolve() != own]
    if (target.folder / "plan.json").exists():
        plans, stores = [target.plan(), *plans], [target, *sources]
    else:
        stores = list(sources)
    for plan, folder in zip(plans, [*[out] * (len(plans) - len(folders)), *folders], strict=True):
        if difference := _difference(plans[0], plan):
            raise VaezooError(
                f"{folder} holds the results of another plan: {difference}; merge the shards of one matrix"
            )
    target.prepare()
    merged = Merged(target.folder)
    if claimed(target.folder):
        raise VaezooError(f"a run is writing to {target.folder}; wait for it, or give another folder")
    target.write_plan(_joined(plans, stores))
    for cell in plans[0].cells:
        _merge_records("cells", cell.stem, cell, stores, target, merged)
    for stem in dict.fromkeys(cell.timing for plan in plans for cell in plan.cells if cell.timing):
        _merge_records("timings", stem, None, stores, target, merged)
    for path in (path for source in sources for path in sorted((source.folder / FOLDER).glob("*.json"))):
        try:
            if (verdict := read_verdict(path)) is not None:
                keep(target.folder / FOLDER, verdict)
        except DamagedFile as error:
            merged.left_out.append(f"{error}; it is left out")
    return merged


def _difference(one: StoredPlan, other: StoredPlan) -> str | None:
    """In which way two plans are not of the same cells, or None."""
    if one.name != other.name:
        return f"its matrix is {other.name!r}, not {one.name!r}"
    if one.protocol != other.protocol:
        return f"its protocol is {other.protocol}, not {one.protocol}"
    facts = [[(c.stem, c.key, c.label, c.dataset, c.seed) for c in plan.cells] for plan in (one, other)]
    if len(facts[0]) != len(facts[1]):
        return f"it has {len(facts[1])} cells, not {len(facts[0])}"
    place = next((n for n, (a, b) in enumerate(zip(*facts, strict=True)) if a != b), None)
    return None if place is None else f"its cell {place + 1} is {other.cells[place].stem}, not {one.cells[place].stem}"


def _joined(plans: Sequence[StoredPlan], stores: Sequence[Store]) -> StoredPlan:
    """The first plan, in which each cell has the timing that one of the folders has a record of: a timing holds on one
    device, so the plans of several machines name different ones.
    """

    def timing(options: Sequence[StoredCell]) -> str | None:
        """The timing of one cell of the plans."""
        stems = list(dict.fromkeys(cell.timing for cell in options if cell.timing is not None))
        measured = [stem for stem in stems if any(store.path("timings", stem).is_file() for store in stores)]
        return next(iter([*measured, *stems]), None)

    cells = zip(*(plan.cells for plan in plans), strict=True)
    return replace(plans[0], cells=tuple(replace(options[0], timing=timing(options)) for options in cells))


def _merge_records(
    kind: Kind, stem: str, cell: StoredCell | None, stores: Sequence[Store], target: Store, merged: Merged
) -> None:
    """Write the best record of a cell to the target, with its files."""
    read = [(store, store.record(kind, stem, cell)) for store in stores]
    found = [(store, record) for store, record in read if record is not None]
    if not found:
        return
    chosen, best = min(found, key=lambda each: _rank(each[1]))  # the first among equals
    for store, record in found:
        if kind == "cells" and best.is_final and record.is_final and (what := _conflict(best, record)):
            merged.conflicts.append(
                f"{stem}: {store.folder} and {chosen.folder} differ in {what}; that of {chosen.folder} is kept"
            )
    _copy_pictures(stem, [chosen, *(store for store, _ in found)], target, merged)
    if chosen is target:
        return
    path = target.path(kind, stem)
    if target in stores and os.path.lexists(path) and all(store is not target for store, _ in found):
        target.set_aside(path)  # a damaged one
    if best.log is None:
        target.path("logs", stem).unlink(missing_ok=True)  # of the record that is replaced
    for name, most in (("checkpoints", LARGEST_WEIGHTS), ("images", LARGEST_IMAGES), ("logs", 2 * LARGEST_LOG)):
        if not _has(best, name, kind):
            continue
        try:
            if (blocks := chosen.blocks(name, stem, best, most)) is not None:
                write_atomically(target.path(name, stem), blocks)
        except DamagedFile as error:
            merged.left_out.append(f"{error}; it is left out")
    content = read_blocks(chosen.path(kind, stem), LARGEST_RECORD)
    if content is not None:  # the record last, so that none stands without its files
        write_atomically(path, content)
        merged.records += 1


def _copy_pictures(stem: str, stores: Sequence[Store], target: Store, merged: Merged) -> None:
    """Write the pictures of a cell's model to the target where it has none: the first that one of the stores has."""
    for store in stores:
        try:
            content = read_blocks(store.path("figures", stem), LARGEST_PICTURES)
            if content is None:
                continue
            if store is not target:
                write_atomically(target.path("figures", stem), content)
            return
        except DamagedFile as error:
            merged.left_out.append(f"{error}; it is left out")


def _rank(record: Record) -> int:
    return {"ok": 0, "diverged": 1}.get(record.status, 2)


def _has(record: Record, name: str, kind: Kind) -> bool:
    """Whether a record has a file of this kind. One of format 1 does not name its files."""
    if name == "logs":
        return record.log is not None
    named = {"checkpoints": "checkpoints/", "images": "cells/"}[name]
    return kind == "cells" and (not record.is_verified or any(path.startswith(named) for path in record.files))


def _conflict(one: Record, other: Record) -> str | None:
    """What differs in two final records of one cell, or None where all but times and memory agrees."""
    if one.status != other.status:
        return f"status ({other.status} and {one.status})"
    for what, a, b in zip(
        ("results", "best_epoch", "history", "vectors"), _measured(one), _measured(other), strict=True
    ):
        if a != b:
            names = ", ".join(_differing(a, b)) if isinstance(a, dict) and isinstance(b, dict) else ""
            return f"{what} {names}".strip()
    return None


def _measured(record: Record) -> tuple[dict[str, Any], int | None, dict[str, Any], dict[str, Any]]:
    results = {name: value for name, value in record.results.items() if name not in CIRCUMSTANCES}
    history = {name: values for name, values in record.history.items() if name != "seconds"}
    return results, record.best_epoch, history, record.vectors


def _differing(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    return (name for name in sorted({*one, *other}) if one.get(name) != other.get(name))
