"""Runs a plan into its results folder. Cells that have a final record are not run again."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch

from vaezoo.core.errors import VaezooError
from vaezoo.runner.children.client import Children, outcomes
from vaezoo.runner.claims import Claims, claimed
from vaezoo.runner.engines.choice import EngineChoice
from vaezoo.runner.engines.engine import Engine
from vaezoo.runner.engines.places import Places
from vaezoo.runner.engines.ray_cluster import RayCluster
from vaezoo.runner.engines.this_machine import ThisMachine
from vaezoo.runner.kept_weights import KeepWeights, keep, remove_weights
from vaezoo.runner.limits import Limits
from vaezoo.runner.machine.device import cores
from vaezoo.runner.plan.cell import Cell, Kind, Task
from vaezoo.runner.plan.planner import Plan
from vaezoo.runner.records import Status
from vaezoo.runner.selection import Selection
from vaezoo.runner.store import Store
from vaezoo.runner.temporary import temporary_folder

DECODE = "vaezoo.runner.work.mapped:decode"
DOWNLOAD_SECONDS = 3600.0
"""Seconds that the loading of a data set may take, with its download."""
MOST_CPU_JOBS = 8
MOST_JOBS = 10_000
MOST_PACKED = 16


class Terminated(KeyboardInterrupt):
    """A signal reached the run, which then ends as after Ctrl-C. number: of the signal."""

    def __init__(self, number: int = signal.SIGTERM):
        super().__init__()
        self.number = int(number)


ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Terminated within the block, unless the program handles or ignores the signal itself.

    Only the main thread can set a handler; elsewhere, the block runs without one.
    """
    main = threading.current_thread() is threading.main_thread()
    mine = [number for number in ENDING if main and signal.getsignal(number) is signal.SIG_DFL]
    received: list[int] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        """End the block."""
        received.append(number)
        raise Terminated(number)

    for number in mine:
        signal.signal(number, terminate)
    try:
        yield
    except KeyboardInterrupt as stop:
        if received and not isinstance(stop, Terminated):  # Ray raises another one in its place
            raise Terminated(received[0]) from None
        raise
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def ignore_signals() -> None:
    """Let no further signal change how this process ends, which it is about to."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *ENDING):
            signal.signal(number, signal.SIG_IGN)


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
    """A cell or timing without a result. title: `vae on digits, seed 0`; log: relative to the results folder; may_pass:
    whether another run may succeed.
    """

    title: str
    status: str
    reason: str | None
    log: str | None
    may_pass: bool = False


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
    fastest for small nets; on CUDA one a GPU. VaezooError for jobs under 1 or above MOST_JOBS.
    """
    if jobs is not None and not 1 <= jobs <= MOST_JOBS:
        raise VaezooError(f"--jobs must be 1 or more, got {jobs}" + ("" if jobs < 1 else f"; at most {MOST_JOBS}"))
    if device == "cuda":
        devices = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
        count = jobs or len(devices)
        return [devices[n % len(devices)] for n in range(count)], max(1, cores() // count)
    count = jobs or (max(1, min(cores(), MOST_CPU_JOBS, cells)) if device == "cpu" else 1)
    return [device] * count, max(1, cores() // count)


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


def unfinished(packed: Sequence[Sequence[Cell]], waiting: Sequence[Cell]) -> list[list[Cell]]:
    """Of each pack the cells that wait.

    Which cells are a pack does not depend on those that are done: a pack that was interrupted is the same again, and
    goes on from its checkpoint.
    """
    stems = {cell.stem for cell in waiting}
    left = [[cell for cell in pack if cell.stem in stems] for pack in packed]
    return [pack for pack in left if pack]


@dataclass(frozen=True)
class RunOptions:
    """How to run a plan. jobs: cells at a time, None for as many as fit. fail_fast: whether the first failure ends the
    run. selection: which cells. limits: what a cell may take; the matrix's timeout holds where they have none.
    keep_weights: of all cells, of the best seed of each row and data set, or of none. engine: the machines that run the
    cells; timings are measured on this one. prove: whether plugins that have not been checked are proved beside them.
    report: whether the folder gets a report, which is kept current.
    """

    jobs: int | None = None
    fail_fast: bool = False
    selection: Selection = field(default_factory=Selection)
    limits: Limits = field(default_factory=Limits)
    keep_weights: KeepWeights = "all"
    engine: EngineChoice = field(default_factory=EngineChoice)
    prove: bool = True
    report: bool = False


def carry_out(
    plan: Plan, folder: str | Path, children: Children, *, device: str, options: RunOptions, watcher: Watcher
) -> Report:
    """Run the cells that are missing, then the timings, alone. Every record is on the disk when this returns or raises.

    Other runs may work in the same folder: each cell is run by one of them, and all return when all have ended. Raises
    VaezooError where the folder cannot be written to, or another run is writing another matrix to it.
    """
    workers(device, options.jobs, 1)
    options.selection.check(plan.cells)
    store = Store(folder)
    store.prepare()
    report = Report(store.folder)
    timings = list({cell.stem: cell for cell in plan.timings.values()}.values()) if options.selection.timings else []
    work: list[tuple[Kind, list[Cell]]] = [("cells", plan.cells), ("timings", timings)]
    mine: list[Cell] = []
    with Claims(store.folder) as claims, temporary_folder() as data:
        shared = bool(claimed(store.folder))
        store.remove_abandoned()
        store.set_aside_damaged([*plan.cells, *timings])
        store.write_plan(plan.stored(), shared=shared)
        decoded = _Decoded(plan, children, data)

        def finished(task: Task, status: Status) -> None:
            """Tell the watcher, and remove the weights of a cell that this run does not keep."""
            watcher.finished(task, status)
            if options.keep_weights == "none" and not claimed(store.folder) - claims.held:
                remove_weights(store, task.cell)

        try:
            for kind, cells in work:
                where = options.engine.device(device) if kind == "cells" else device
                packed = options.selection.own(packs(chosen(cells, options.selection), plan, where))
                own = {cell.stem for pack in packed for cell in pack}
                mine += [cell for cell in cells if cell.skip or cell.stem in own]
                left = unfinished(packed, options.selection.pending(cells, store))
                missing = sum(map(len, left))
                watcher.begin(kind, missing, len(own) - missing)
                limits = replace(options.limits, timeout=options.limits.timeout or plan.matrix.timeout)
                with _places(kind, children, device, options, missing) as places:
                    engine = Engine(
                        store,
                        places,
                        claims,
                        limits,
                        tick=watcher.tick,
                        finished=finished,
                        fail_fast=options.fail_fast,
                    )
                    engine.run([[decoded.task(cell, store.folder) for cell in pack] for pack in left])
                report.ran += missing
                if engine.failed and options.fail_fast:
                    break
            alone = not claimed(store.folder) - claims.held
            keep(options.keep_weights, store, chosen(plan.cells, options.selection), alone)
        finally:
            store.tidy(claimed(store.folder) - claims.held)
            for cell in mine or plan.cells:
                _count(report, cell, store)
    return report


@contextmanager
def _places(kind: Kind, children: Children, device: str, options: RunOptions, count: int) -> Iterator[Places]:
    """Where so many cells, or timings, run."""
    choice, limits = options.engine, options.limits
    if kind == "cells" and choice.engine == "ray" and count:
        with RayCluster(
            choice.address,
            share=choice.share(device, limits),
            most=min(count, options.jobs or count),
            memory=limits.memory,
            checkpoint=limits.checkpoint,
        ) as cluster:
            yield cluster
        return
    devices, threads = workers(device, options.jobs if kind == "cells" else 1, count)
    devices = devices[:1] if kind == "timings" else devices
    yield ThisMachine(children, devices=devices, threads=threads, memory=limits.memory, checkpoint=limits.checkpoint)


def chosen(cells: Sequence[Cell], selection: Selection) -> list[Cell]:
    """The cells that a selection's patterns fit and that can be run, each key once."""
    return list({cell.stem: cell for cell in cells if cell.skip is None and selection.chooses(cell)}.values())


class _Decoded:
    """Makes the tasks of a plan's cells, with the data sets decoded: each once, when the first task needs it."""

    def __init__(self, plan: Plan, children: Children, folder: Path):
        self.plan, self.children, self.folder = plan, children, folder
        self.known: dict[str, Path | None] = {}

    def task(self, cell: Cell, results: Path) -> Task:
        """The task of a cell."""
        label = cell.dataset
        if label not in self.known:
            self.known[label] = self._decode(cell, label, self.folder / str(len(self.known)))
        return replace(self.plan.task(cell, results), data=self.known[label])

    def _decode(self, cell: Cell, label: str, folder: Path) -> Path | None:
        """The folder of the decoded data; None where the cells have to load it, and to say what is wrong with it."""
        if label not in self.plan.data_sources:
            return None
        dataset = cell.specification.dataset
        arguments = {
            "name": dataset.name,
            "options": dataset.options,
            "data_root": self.plan.data_root,
            "sources": vars(self.plan.data_sources[label]),
            "folder": str(folder),
        }
        job = self.children.start(DECODE, arguments)
        [(_, outcome)] = outcomes(self.children, [job], DOWNLOAD_SECONDS)
        return folder if outcome.ended == 0 and {"decoded": True} in outcome.messages else None


def _count(report: Report, cell: Cell, store: Store) -> None:
    """Count a cell in the report."""
    record = store.record(cell.kind, cell.stem, cell)
    if record is None:
        failure = Failure(cell.title, "missing", "not run yet", None, True)
    elif record.pending_metrics:
        waiting = f"stopped before {', '.join(record.pending_metrics)}; the same command goes on from there"
        failure = Failure(cell.title, "interrupted", waiting, None, True)
    else:
        failure = Failure(cell.title, record.status, record.reason, record.log, record.may_pass)
    status = "skipped" if cell.skip else failure.status
    if cell.kind == "cells":
        report.counts[status] += 1
    if status not in ("ok", "skipped"):
        report.failures.append(failure)
    elif record is not None:
        for name, reason in record.failed_metrics.items():
            title = f"metric {name} of {cell.title}"
            report.failures.append(Failure(title, "failed", reason, record.log))
