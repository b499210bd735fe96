"""Runs cells in child processes of this machine, with hard time-outs. A crash costs one cell."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from signal import SIGTERM

from pebble import ProcessExpired, ProcessPool

from vaezoo.runner.engines.main_guard import main_guard, refuse_script_without_file
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.records import Record, Status, reason_of
from vaezoo.runner.store import Store
from vaezoo.runner.work.cell import run_pack, start_worker

POLL_SECONDS = 0.25
STARTS = 3
"""How often in a row the workers may end before they take a cell; after that, the cells that waited have failed."""

Statuses = Future[list[Status]]
"""What a worker gives for a pack: the status of each of its cells."""


def run_tasks(
    packs: Sequence[Sequence[Task]],
    store: Store,
    *,
    devices: Sequence[str],
    threads: int,
    timeout: float | None,
    tick: Callable[[Sequence[Task]], None],
    finished: Callable[[Task, Status], None],
) -> None:
    """Run every pack of tasks (a pack of one is a cell by itself), one at a time on each of `devices` (a device that is
    listed twice runs two), each worker with `threads` threads.

    timeout: seconds a cell; a pack has them for each of its cells. tick: called a few times a second with the tasks
    that are running. finished: called with each task's status. A time-out or a crash of the worker is written as that
    cell's record; of a pack, what is unfinished is run again, each cell by itself. On KeyboardInterrupt the running
    cells are recorded as interrupted. Raises VaezooError where the workers would run the user's script again, because
    it has no `__main__` guard, or cannot import it, because it is no file.
    """
    if packs:
        refuse_script_without_file()
    with main_guard() as check_guard:
        schedule = _PackSchedule(packs, store, devices, threads, timeout, finished)
        try:
            while schedule.waiting or schedule.running:
                schedule.start()
                tick([task for pack, _ in schedule.running.values() for task in pack])
                schedule.collect()
                check_guard()
                if not schedule.pool.active:  # a worker ended before it took a cell, so Pebble gives up its pool
                    schedule.reopen()
            schedule.pool.close()
        except KeyboardInterrupt:
            schedule.stop()
            for pack, _ in schedule.running.values():
                for task in pack:
                    _write_failure(store, task, "interrupted", "the run was stopped")
            raise
        except BaseException:
            schedule.pool.stop()
            raise
        finally:
            schedule.pool.join()


class _PackSchedule:
    """The packs that wait, those that run on each device, and the pool of workers that serves them."""

    def __init__(
        self,
        packs: Sequence[Sequence[Task]],
        store: Store,
        devices: Sequence[str],
        threads: int,
        timeout: float | None,
        finished: Callable[[Task, Status], None],
    ):
        self.store, self.timeout, self.finished = store, timeout, finished
        self.free, self.waiting = list(devices)[::-1], [list(pack) for pack in packs][::-1]
        self.running: dict[Statuses, tuple[list[Task], str]] = {}
        self.workers, self.threads, self.broken = len(devices), threads, 0
        self.pool = _pool(self.workers, threads)

    def start(self) -> None:
        """Give each free device a pack."""
        while self.free and self.waiting and self.pool.active:
            pack, device = self.waiting.pop(), self.free.pop()
            limit = None if self.timeout is None else self.timeout * len(pack)
            self.running[self.pool.schedule(run_pack, args=(pack, device), timeout=limit)] = pack, device

    def collect(self) -> None:
        """Settle the packs that end within POLL_SECONDS."""
        for ended in wait(self.running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
            if self.pool.active:
                pack, device = self.running.pop(ended)
                self.free.append(device)
                self._settle(ended, pack)
                self.broken = 0

    def reopen(self) -> None:
        """Open a new pool. Packs that a worker of the old one had taken are settled; the others wait again, STARTS
        times at most.
        """
        self.stop()
        self.broken += 1
        for future, (pack, device) in self.running.items():
            self.free.append(device)
            if not _is_lost(future):
                self._settle(future, pack)
            elif self.broken < STARTS:
                self.waiting.append(pack)
            else:
                reason = "its workers ended before they took it"
                for task in pack:
                    self.finished(task, _write_failure(self.store, task, "failed", reason))
        self.running.clear()
        self.pool, self.broken = _pool(self.workers, self.threads), self.broken % STARTS

    def stop(self) -> None:
        """End the workers, whatever they do."""
        self.pool.stop()
        self.pool.join()

    def _settle(self, future: Statuses, pack: list[Task]) -> None:
        """Report each task's status; a failed pack's unfinished tasks wait again, one by one."""
        for task, status in zip(pack, _statuses(future, pack, self.store, self.timeout), strict=True):
            if status is None:
                alone = f"run alone after its pack of {len(pack)} had failed"
                self.waiting.append([replace(task, alone=alone)])
            else:
                self.finished(task, status)


def _pool(workers: int, threads: int) -> ProcessPool:
    context = multiprocessing.get_context("spawn")
    known = (threads, os.getpid(), context.Event())
    return ProcessPool(max_workers=workers, context=context, initializer=start_worker, initargs=known)


def _is_lost(future: Statuses) -> bool:
    return not future.done() or isinstance(future.exception(), BrokenProcessPool)


def _statuses(future: Statuses, pack: Sequence[Task], store: Store, timeout: float | None) -> Sequence[Status | None]:
    """The status of each task of a pack that has ended; None for a task that a failed pack left undone."""
    status: Status
    try:
        return future.result()
    except TimeoutError:
        status, reason = "timeout", f"took longer than timeout = {timeout:g} s"
    except ProcessExpired as error:
        status, reason = _end_of_worker(error.exitcode)
    except CancelledError:
        status, reason = "interrupted", "the run was stopped"
    except Exception as error:  # the worker could not start its cell, which gets the error as its reason
        status, reason = "failed", reason_of(error)
    if len(pack) == 1:
        return [_write_failure(store, pack[0], status, reason)]
    records = [store.record("cells", task.cell.stem) for task in pack]
    return [record.status if record is not None and record.is_final else None for record in records]


def _end_of_worker(code: int | None) -> tuple[Status, str]:
    """The status and the reason of a cell whose worker died with this exit code, minus the signal that killed it."""
    if code is None or code >= 0:
        return "failed", f"the worker died: exit code {code}"
    if code == -SIGTERM:  # a batch queue stops all processes of a run at once
        return "interrupted", f"the worker was stopped by signal {-code}"
    hint = ", often the system running out of memory" if code == -9 else ""
    return "failed", f"the worker died: killed by signal {-code}{hint}"


def _write_failure(store: Store, task: Task, status: Status, reason: str) -> Status:
    """Write the record of a cell whose worker has ended; the status of the record that now stands."""
    cell = task.cell
    known = store.record(cell.kind, cell.stem)
    if known is not None and known.is_final:  # the worker had written it before its end
        return known.status
    log = store.path("logs", cell.stem)
    store.write(cell, replace(Record.of(cell, status, reason), log=f"logs/{log.name}" if log.exists() else None))
    return status
