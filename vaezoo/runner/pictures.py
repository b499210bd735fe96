"""Makes the pictures that a results folder lacks, from the weights that it keeps, in child processes."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vaezoo.runner.children.client import Children, outcomes
from vaezoo.runner.files import DamagedFile
from vaezoo.runner.json_values import canonical
from vaezoo.runner.limits import STALL
from vaezoo.runner.plan.sources import Sources
from vaezoo.runner.plan.stored import StoredCell, first_seeds
from vaezoo.runner.records import Record
from vaezoo.runner.store import Store
from vaezoo.runner.stored_plugins import plugin_names, plugin_sources

DRAW = "vaezoo.runner.work.draw:draw_stored"


@dataclass(frozen=True)
class _Group:
    """Cells on one data set whose plugins come from the same sources."""

    sources: Sources
    members: list[tuple[StoredCell, Record]] = field(default_factory=list)


def make_missing_pictures(
    folder: str | Path, children: Children, files: Sequence[Path], data_root: str | None, device: str
) -> list[str]:
    """Make the pictures of each row and data set that has none, from the weights of its first seed; a line for each one
    of which they cannot be made. files: plugin files, beside those that the plan names.

    Raises VaezooError where the folder holds no results.
    """
    store = Store(folder)
    plan = store.plan()
    lines: list[str] = []
    lacking: list[tuple[StoredCell, Record]] = []
    wanted = set(first_seeds(plan.cells))
    for cell in (cell for cell in plan.cells if cell.stem in wanted):
        found = _lacking(store, cell)
        if isinstance(found, str):
            lines.append(_line(cell, found))
        elif found is not None:
            lacking.append((cell, found))
    if not lacking:
        return lines
    names = {cell.stem: plugin_names(record.specification) for cell, record in lacking}
    known = plugin_sources(plan, {name for each in names.values() for name in each}, children, files)
    groups: dict[tuple[str, Sources], _Group] = {}
    for cell, record in lacking:
        if lost := [name for name in names[cell.stem] if not known.knows(name)]:
            slot, name = lost[0]
            lines.append(_line(cell, f"{slot} {name!r} is not registered here; give its file with --plugin"))
            continue
        sources, choice = known.sources(names[cell.stem]), canonical(record.specification.dataset.to_json())
        groups.setdefault((choice, sources), _Group(sources)).members.append((cell, record))
    for group in groups.values():
        lines += _drawn(store, group, children, data_root, device)
    return lines


def _line(cell: StoredCell, reason: str) -> str:
    return f"no pictures of {cell.label} on {cell.dataset}: {reason}"


def _lacking(store: Store, cell: StoredCell) -> Record | str | None:
    """The record of a cell whose pictures can be made; why they cannot; None where they are there."""
    try:
        if store.pictures(cell.stem) is not None:
            return None
    except DamagedFile:
        pass  # they are made anew
    record = store.record("cells", cell.stem, cell)
    if record is None or record.status != "ok":
        said = "it is skipped" if cell.skip else "it has no record" if record is None else f"it is {record.status}"
        return f"{said}, so it has no model"
    if not os.path.lexists(store.path("checkpoints", cell.stem)):
        return f"the weights of seed {cell.seed} were not kept (--keep-weights); run it again with --force"
    return record


def _drawn(store: Store, group: _Group, children: Children, data_root: str | None, device: str) -> Iterator[str]:
    """Make the pictures of a group in a child; a line for each cell of which they cannot be made."""
    arguments = {
        "folder": str(store.folder.resolve()),
        "sources": vars(group.sources),
        "dataset": group.members[0][1].specification.dataset.to_json(),
        "stems": [cell.stem for cell, _ in group.members],
        "device": device,
        "data_root": data_root,
    }
    [(_, outcome)] = outcomes(children, [children.start(DRAW, arguments)], STALL)
    told = {str(message["stem"]): message["failed"] for message in outcome.messages if "stem" in message}
    for cell, _ in group.members:
        reason = told.get(cell.stem, f"a child {outcome.reason('before they were made')}")
        if reason is not None:
            yield _line(cell, str(reason))
