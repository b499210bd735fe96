"""Which trained weights a run keeps: `--keep-weights all|best|none`. Records stay as they are."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Literal, get_args

from vaezoo.core.errors import VaezooError, unknown
from vaezoo.runner.plan.cell import Cell
from vaezoo.runner.store import Store

KeepWeights = Literal["all", "best", "none"]
KEPT: tuple[KeepWeights, ...] = get_args(KeepWeights)


def parse_kept(text: str) -> KeepWeights:
    """One of KEPT. VaezooError for anything else."""
    for choice in KEPT:
        if text == choice:
            return choice
    raise VaezooError(f"--keep-weights: {unknown('choice', text, KEPT)}")


def remove_weights(store: Store, cell: Cell) -> None:
    """Remove the weights of a cell whose record is complete: it has a result, and no metric is left to be measured."""
    if cell.kind == "cells" and _iwll(store, cell) is not None:
        with suppress(OSError):  # a folder that has become read-only: no run is to fail of that
            store.path("checkpoints", cell.stem).unlink(missing_ok=True)


def remove_all_but_best(store: Store, cells: Iterable[Cell]) -> None:
    """Remove the weights of these cells, except those of the seed of each row and data set with the highest test iwll,
    of equal ones the lowest seed. Cells without a complete record are left alone.

    What is removed is worse than what is kept, so it is not the best of more seeds either: several runs in one folder
    may call this, whenever each of them ends.
    """
    rows: dict[tuple[str, str], list[tuple[float, int, Cell]]] = {}
    for cell in cells:
        iwll = _iwll(store, cell)
        if iwll is not None and cell.seed is not None:
            rows.setdefault((cell.label, cell.dataset), []).append((-iwll, cell.seed, cell))
    for found in rows.values():
        for _, _, cell in sorted(found, key=lambda each: each[:2])[1:]:
            remove_weights(store, cell)


def keep(choice: KeepWeights, store: Store, cells: Sequence[Cell], alone: bool) -> None:
    """At the end of a run, remove the weights of these cells that it does not keep. alone: whether no other run is at
    work in the folder. While one is, `none` removes nothing, because the other may have to keep the best; the run that
    ends last decides.
    """
    if choice == "best":
        remove_all_but_best(store, cells)
    elif choice == "none" and alone:
        for cell in cells:
            remove_weights(store, cell)


def _iwll(store: Store, cell: Cell) -> float | None:
    record = store.record("cells", cell.stem, cell)
    complete = record is not None and record.status == "ok" and not record.pending_metrics
    return record.results.get("iwll") if record is not None and complete else None
