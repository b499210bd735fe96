"""Cells in child processes of this machine: hard time-outs, and a crash that costs one cell."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from vaezoo.runner.cell import Task, run_pack, start_worker
from vaezoo.runner.store import FINAL, Store

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
    free, waiting = list(devices)[::-1], [list(pack) for pack in packs][::-1]
    running: dict[ProcessFuture, tuple[list[Task], str]] = {}
    pool, broken = _pool(len(devices), threads), 0

    def settle(future: Any, pack: list[Task]) -> None:
        """Tell each task's status; send the unfinished ones of a pack that failed back, one by one."""
        for task, status in zip(pack, _statuses(future, pack, store, timeout), strict=True):
            if status is None:
                waiting.append([{**task, "alone": f"run alone after its pack of {len(pack)} had failed"}])
            else:
                finished(task, status)

    try:
        while waiting or running:
            while free and waiting and pool.active:
                pack, device = waiting.pop(), free.pop()
                limit = None if timeout is None else timeout * len(pack)
                running[pool.schedule(run_pack, args=(pack, device), timeout=limit)] = pack, device
            tick([task for pack, _ in running.values() for task in pack])
            for ended in wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
                if pool.active:
                    pack, device = running.pop(ended)  # type: ignore[call-overload]
                    free.append(device)
                    settle(ended, pack)
                    broken = 0
            if not pool.active:  # a worker ended with no cell in its hands: Pebble gives up its pool, we open another
                pool.stop()
                pool.join()
                broken += 1
                for future, (pack, device) in running.items():
                    free.append(device)
                    if not _is_lost(future):
                        settle(future, pack)
                    elif broken < STARTS:
                        waiting.append(pack)
                    else:
                        for task in pack:
                            finished(task, _write(store, task, "failed", "its workers ended before they took it"))
                running.clear()
                pool, broken = _pool(len(devices), threads), broken % STARTS
        pool.close()
    except KeyboardInterrupt:
        pool.stop()
        pool.join()
        for pack, _ in running.values():
            for task in pack:
                _write(store, task, "interrupted", "the run was stopped")
        raise
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()


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
