"""Cells in child processes of this machine: hard time-outs, and a crash that costs one cell."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from vaezoo.runner.store import FINAL, Store
from vaezoo.runner.work.cell import Task, run_pack, start_worker

POLL_SECONDS = 0.25
STARTS = 3
"""So many times in a row workers may end before they take a cell; then the cells that were to run have failed."""


def run_tasks(
    packs: Sequence[Sequence[Task]],
    store: Store,
    *,
    devices: Sequence[str],
    threads: int,
    timeout: float | None,
    tick: Callable[[Sequence[Task]], None],
    finished: Callable[[Task, str], None],
) -> None:
    """Run every pack of tasks (a cell by itself is a pack of one), one on each of `devices` at a time (a device that
    stands twice serves two), each worker with so many threads.

    timeout: seconds a cell; a pack has them for each of its cells. tick: called a few times a second with the tasks
    that are running. finished: called with each task's status. A time-out or a crash of the worker is written as that
    cell's record; of a pack, what is unfinished is run again, each cell by itself. On KeyboardInterrupt the running
    cells are recorded as interrupted.
    """
    run = _Run(packs, store, devices, threads, timeout, finished)
    try:
        while run.waiting or run.running:
            run.start()
            tick([task for pack, _ in run.running.values() for task in pack])
            run.collect()
            if not run.pool.active:  # a worker ended with no cell in its hands: Pebble gives up its pool
                run.reopen()
        run.pool.close()
    except KeyboardInterrupt:
        run.stop()
        for pack, _ in run.running.values():
            for task in pack:
                _write(store, task, "interrupted", "the run was stopped")
        raise
    except BaseException:
        run.pool.stop()
        raise
    finally:
        run.pool.join()


class _Run:
    """What waits, what runs on which device, and the pool of workers that serves it."""

    def __init__(
        self,
        packs: Sequence[Sequence[Task]],
        store: Store,
        devices: Sequence[str],
        threads: int,
        timeout: float | None,
        finished: Callable[[Task, str], None],
    ):
        self.store, self.timeout, self.finished = store, timeout, finished
        self.free, self.waiting = list(devices)[::-1], [list(pack) for pack in packs][::-1]
        self.running: dict[ProcessFuture, tuple[list[Task], str]] = {}
        self.workers, self.threads, self.broken = len(devices), threads, 0
        self.pool = _pool(self.workers, threads)

    def start(self) -> None:
        """Give each free device a pack."""
        while self.free and self.waiting and self.pool.active:
            pack, device = self.waiting.pop(), self.free.pop()
            limit = None if self.timeout is None else self.timeout * len(pack)
            self.running[self.pool.schedule(run_pack, args=(pack, device), timeout=limit)] = pack, device

    def collect(self) -> None:
        """Settle what ends within a moment."""
        for ended in wait(self.running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
            if self.pool.active:
                pack, device = self.running.pop(ended)  # type: ignore[call-overload]
                self.free.append(device)
                self._settle(ended, pack)
                self.broken = 0

    def reopen(self) -> None:
        """A new pool: what the old one had taken is settled, what it had not waits again, STARTS times at most."""
        self.stop()
        self.broken += 1
        for future, (pack, device) in self.running.items():
            self.free.append(device)
            if not _is_lost(future):
                self._settle(future, pack)
            elif self.broken < STARTS:
                self.waiting.append(pack)
            else:
                for task in pack:
                    self.finished(task, _write(self.store, task, "failed", "its workers ended before they took it"))
        self.running.clear()
        self.pool, self.broken = _pool(self.workers, self.threads), self.broken % STARTS

    def stop(self) -> None:
        """End the workers, whatever they do."""
        self.pool.stop()
        self.pool.join()

    def _settle(self, future: Any, pack: list[Task]) -> None:
        """Tell each task's status; send the unfinished ones of a pack that failed back, one by one."""
        for task, status in zip(pack, _statuses(future, pack, self.store, self.timeout), strict=True):
            if status is None:
                self.waiting.append([{**task, "alone": f"run alone after its pack of {len(pack)} had failed"}])
            else:
                self.finished(task, status)


def _pool(workers: int, threads: int) -> ProcessPool:
    context = multiprocessing.get_context("spawn")
    return ProcessPool(max_workers=workers, context=context, initializer=start_worker, initargs=(threads, os.getpid()))


def _is_lost(future: Any) -> bool:
    return not future.done() or isinstance(future.exception(), BrokenProcessPool)


def _statuses(future: Any, pack: Sequence[Task], store: Store, timeout: float | None) -> list[str | None]:
    """The status of each task of a pack that has ended; None for what a failed pack of several has left undone."""
    try:
        return [str(status) for status in future.result()]
    except TimeoutError:
        status, why = "timeout", f"took longer than timeout = {timeout:g} s"
    except ProcessExpired as error:
        code = error.exitcode
        why = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        hint = ", often the system running out of memory" if code == -9 else ""
        status, why = "failed", f"the worker died: {why}{hint}"
    except CancelledError:
        status, why = "interrupted", "the run was stopped"
    except Exception as error:  # a worker that cannot even start its cell: its reason is the cell's
        status, why = "failed", f"{type(error).__name__}: {error}".splitlines()[0]
    if len(pack) == 1:
        return [_write(store, pack[0], status, why)]
    records = [store.record("cells", task["stem"]) or {} for task in pack]
    return [record.get("status") if record.get("status") in FINAL else None for record in records]


def _write(store: Store, task: Task, status: str, reason: str) -> str:
    kind = "timings" if task["seed"] is None else "cells"
    known = store.record(kind, task["stem"]) or {}
    if known.get("status") in FINAL:  # the worker had written it before its end
        return str(known["status"])
    names = ("label", "variant", "dataset", "seed", "key", "specification", "comparability")
    log = store.path("logs", task["stem"])
    record = {name: task[name] for name in names} | {"status": status, "reason": reason}
    store.write(kind, task["stem"], record | ({"log": f"logs/{log.name}"} if log.exists() else {}))
    store.path("running", task["stem"]).unlink(missing_ok=True)
    return status
