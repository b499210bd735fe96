"""A plan carried out in its results folder: what has a standing record is not run again."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from vaezoo.core.errors import VaezooError
from vaezoo.runner.engines.local import run_tasks
from vaezoo.runner.machine.device import cores
from vaezoo.runner.plan.planner import Cell, Plan, as_task
from vaezoo.runner.store import FINAL, Store
from vaezoo.runner.work.cell import Task

MOST_CPU_JOBS = 8
MOST_PACKED = 16


class Watcher(Protocol):
    """Who is told how a run goes."""

    def begin(self, phase: str, total: int, kept: int) -> None:
        """A phase ("cells" or "timings") begins: so many to run, so many whose records stand."""

    def tick(self, running: Sequence[Task]) -> None:
        """Called a few times a second with what is running."""

    def finished(self, task: Task, status: str) -> None:
        """A cell has a record."""


@dataclass
class Report:
    """What a run did: statuses of all its cells, how many it ran itself, and (stem, status, reason, log) of each
    failure.
    """

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    ran: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)


def workers(device: str, jobs: int | None, cells: int) -> tuple[list[str], int]:
    """The device of each worker and the threads each may use.

    On a CPU as many one-thread workers as there are cores (at most MOST_CPU_JOBS, and no more than cells), which small
    nets like best; on CUDA one a GPU. VaezooError for jobs under 1.
    """
    if jobs is not None and jobs < 1:
        raise VaezooError(f"--jobs must be 1 or more, got {jobs}")
    if device == "cuda":
        devices = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
        count = jobs or len(devices)
        return [devices[n % len(devices)] for n in range(count)], max(1, cores() // count)
    count = jobs or (max(1, min(cores(), MOST_CPU_JOBS, cells)) if device == "cpu" else 1)
    return [device] * count, max(1, cores() // count)


def pending(cells: Sequence[Cell], store: Store, kind: str) -> list[Cell]:
    """The cells whose records do not stand, each key once. Skipped ones are not run."""
    asked = {cell.stem: cell for cell in cells if cell.skip is None}
    return [cell for stem, cell in asked.items() if (store.record(kind, stem) or {}).get("status") not in FINAL]


def packs(cells: Sequence[Cell], plan: Plan, device: str) -> list[list[Cell]]:
    """The cells in the packs in which they run: seeds of one row on one dataset, as many together as the matrix's
    `pack` says; `auto` is 1 on a CPU and MOST_PACKED on CUDA. Timings and skipped cells stay alone.
    """
    most = plan.matrix.pack if isinstance(plan.matrix.pack, int) else 1 if device == "cpu" else MOST_PACKED
    made: list[list[Cell]] = []
    open_packs: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        pack = open_packs.get((cell.label, cell.dataset))
        if cell.seed is None or pack is None or len(pack) >= most:
            pack = []
            made.append(pack)
            if cell.seed is not None:
                open_packs[cell.label, cell.dataset] = pack
        pack.append(cell)
    return made


def carry_out(plan: Plan, folder: str | Path, *, device: str, jobs: int | None, watcher: Watcher) -> Report:
    """Run what is missing, then the timing cells alone; every record is on the disk when this returns or raises.

    Raises VaezooError where the folder cannot be written to or another run holds it.
    """
    workers(device, jobs, 1)
    store = Store(folder)
    store.prepare()
    with store.lock():
        store.write_plan(plan.stored())
        shutil.rmtree(store.folder / "running", ignore_errors=True)
        report = Report(store.folder)
        timings = {cell.stem: cell for cell in plan.timings.values()}
        try:
            for kind, cells in (("cells", plan.cells), ("timings", list(timings.values()))):
                waiting = pending(cells, store, kind)
                possible = len({cell.stem for cell in cells if cell.skip is None})
                devices, threads = workers(device, jobs if kind == "cells" else 1, len(waiting))
                watcher.begin(kind, len(waiting), possible - len(waiting))
                run_tasks(
                    [[as_task(cell, plan, store.folder) for cell in pack] for pack in packs(waiting, plan, device)],
                    store,
                    devices=devices[:1] if kind == "timings" else devices,
                    threads=threads,
                    timeout=plan.matrix.timeout,
                    tick=watcher.tick,
                    finished=watcher.finished,
                )
                report.ran += len(waiting)
        finally:
            _tidy(store)
            _count(report, plan, store)
    return report


def _tidy(store: Store) -> None:
    for name in ("running", "logs"):
        folder = store.folder / name
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _count(report: Report, plan: Plan, store: Store) -> None:
    found = [("cells", cell) for cell in plan.cells]
    found += [("timings", cell) for cell in {c.stem: c for c in plan.timings.values()}.values()]
    for kind, cell in found:
        record = store.record(kind, cell.stem) or {"status": "missing", "reason": "not run yet"}
        status = "skipped" if cell.skip else record["status"]
        if kind == "cells":
            report.counts[status] += 1
        if status not in ("ok", "skipped"):
            what = "timing" if cell.seed is None else f"seed {cell.seed}"
            report.failures.append(
                {
                    "title": f"{cell.label} on {cell.dataset}, {what}",
                    "status": status,
                    "reason": record.get("reason"),
                    "log": record.get("log"),
                }
            )
