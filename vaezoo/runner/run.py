"""Runs a plan into its results folder. Cells that have a final record are not run again."""

import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch

from vaezoo.core.errors import VaezooError
from vaezoo.runner.engines.local import run_tasks
from vaezoo.runner.machine.device import cores
from vaezoo.runner.plan.cell import Cell, Kind, Task
from vaezoo.runner.plan.planner import Plan
from vaezoo.runner.records import Status
from vaezoo.runner.store import Store

MOST_CPU_JOBS = 8
MOST_PACKED = 16


class Terminated(KeyboardInterrupt):
    """SIGTERM reached the run, which then ends as after Ctrl-C."""


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM raises Terminated within the block, unless the program handles the signal itself.

    Only the main thread can set a handler; elsewhere, the block runs without one.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        """End the block."""
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Watcher(Protocol):
    """Receives the events of a run, to show them."""

    def begin(self, kind: Kind, total: int, kept: int) -> None:
        """The cells, or the timings, begin. total: how many are to run. kept: how many have a final record already."""

    def tick(self, running: Sequence[Task]) -> None:
        """Called a few times a second with the tasks that are running."""

    def finished(self, task: Task, status: Status) -> None:
        """A task has a record."""


@dataclass(frozen=True)
class Failure:
    """A cell or timing without a result. title: `vae on digits, seed 0`; log: relative to the results folder."""

    title: str
    status: str
    reason: str | None
    log: str | None


@dataclass
class Report:
    """What a run did: counts of its cells by status (`missing`: not run yet), how many it ran itself, each failure."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    ran: int = 0
    failures: list[Failure] = field(default_factory=list)


def workers(device: str, jobs: int | None, cells: int) -> tuple[list[str], int]:
    """The device of each worker and the threads each may use.

    On a CPU as many one-thread workers as there are cores (at most MOST_CPU_JOBS, and no more than cells), which is
    fastest for small nets; on CUDA one a GPU. VaezooError for jobs under 1.
    """
    if jobs is not None and jobs < 1:
        raise VaezooError(f"--jobs must be 1 or more, got {jobs}")
    if device == "cuda":
        devices = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
        count = jobs or len(devices)
        return [devices[n % len(devices)] for n in range(count)], max(1, cores() // count)
    count = jobs or (max(1, min(cores(), MOST_CPU_JOBS, cells)) if device == "cpu" else 1)
    return [device] * count, max(1, cores() // count)


def pending(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """The cells without a final record, each key once. Skipped ones are not run."""
    asked = {cell.stem: cell for cell in cells if cell.skip is None}.values()
    found = [(cell, store.record(cell.kind, cell.stem, cell)) for cell in asked]
    return [cell for cell, record in found if record is None or not record.is_final]


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
    """Run the cells that are missing, then the timings, alone. Every record is on the disk when this returns or raises.

    Raises VaezooError where the folder cannot be written to or another run holds it.
    """
    workers(device, jobs, 1)
    store = Store(folder)
    store.prepare()
    with store.lock():
        timings = list({cell.stem: cell for cell in plan.timings.values()}.values())
        store.remove_abandoned(older_than=0)
        store.set_aside_damaged([*plan.cells, *timings])
        store.write_plan(plan.stored())
        shutil.rmtree(store.folder / "running", ignore_errors=True)
        report = Report(store.folder)
        work: list[tuple[Kind, list[Cell]]] = [("cells", plan.cells), ("timings", timings)]
        try:
            for kind, cells in work:
                waiting = pending(cells, store)
                possible = len({cell.stem for cell in cells if cell.skip is None})
                devices, threads = workers(device, jobs if kind == "cells" else 1, len(waiting))
                watcher.begin(kind, len(waiting), possible - len(waiting))
                run_tasks(
                    [[plan.task(cell, store.folder) for cell in pack] for pack in packs(waiting, plan, device)],
                    store,
                    devices=devices[:1] if kind == "timings" else devices,
                    threads=threads,
                    timeout=plan.matrix.timeout,
                    tick=watcher.tick,
                    finished=watcher.finished,
                )
                report.ran += len(waiting)
        finally:
            _remove_empty_folders(store)
            for cell in [*plan.cells, *timings]:
                _count(report, cell, store)
    return report


def _remove_empty_folders(store: Store) -> None:
    for name in ("running", "logs"):
        folder = store.folder / name
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _count(report: Report, cell: Cell, store: Store) -> None:
    """Count a cell in the report."""
    record = store.record(cell.kind, cell.stem, cell)
    if record is None:
        failure = Failure(cell.title, "missing", "not run yet", None)
    else:
        failure = Failure(cell.title, record.status, record.reason, record.log)
    status = "skipped" if cell.skip else failure.status
    if cell.kind == "cells":
        report.counts[status] += 1
    if status not in ("ok", "skipped"):
        report.failures.append(failure)
