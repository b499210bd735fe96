"""Cells in child processes of this machine: hard time-outs, and a crash that costs one cell."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from vaezoo.runner.cell import Task, run_cell, start_worker
from vaezoo.runner.store import FINAL, Store

POLL_SECONDS = 0.25
STARTS = 3
"""So many times in a row workers may end before they take a cell; then the cells that were to run have failed."""


def run_tasks(
    tasks: Sequence[Task],
    store: Store,
    *,
    devices: Sequence[str],
    threads: int,
    timeout: float | None,
    tick: Callable[[Sequence[Task]], None],
    finished: Callable[[Task, str], None],
) -> None:
    """Run every task, one on each of `devices` at a time (a device that stands twice serves two), each worker with so
    many threads.

    tick: called a few times a second with the tasks that are running. finished: called with each task's status. A
    time-out or a crash of the worker is written as that cell's record; on KeyboardInterrupt the running cells are
    recorded as interrupted.
    """
    free, waiting = list(devices)[::-1], list(tasks)[::-1]
    running: dict[ProcessFuture, tuple[Task, str]] = {}
    pool, broken = _pool(len(devices), threads), 0
    try:
        while waiting or running:
            while free and waiting and pool.active:
                future = pool.schedule(run_cell, args=(waiting[-1], free[-1]), timeout=timeout)
                running[future] = waiting.pop(), free.pop()
            tick([task for task, _ in running.values()])
            for ended in wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
                if pool.active:
                    task, device = running.pop(ended)  # type: ignore[call-overload]
                    free.append(device)
                    finished(task, _settled(ended, task, store, timeout))
                    broken = 0
            if not pool.active:  # a worker ended with no cell in its hands: Pebble gives up its pool, we open another
                pool.stop()
                pool.join()
                broken += 1
                for future, (task, device) in running.items():
                    free.append(device)
                    if not _is_lost(future):
                        finished(task, _settled(future, task, store, timeout))
                    elif broken < STARTS:
                        waiting.append(task)
                    else:
                        finished(task, _write(store, task, "failed", "its workers ended before they took it"))
                running.clear()
                pool, broken = _pool(len(devices), threads), broken % STARTS
        pool.close()
    except KeyboardInterrupt:
        pool.stop()
        pool.join()
        for task, _ in running.values():
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


def _settled(future: Any, task: Task, store: Store, timeout: float | None) -> str:
    try:
        return str(future.result())
    except TimeoutError:
        return _write(store, task, "timeout", f"took longer than timeout = {timeout:g} s")
    except ProcessExpired as error:
        code = error.exitcode
        why = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        hint = ", often the system running out of memory" if code == -9 else ""
        return _write(store, task, "failed", f"the worker died: {why}{hint}")
    except CancelledError:
        return _write(store, task, "interrupted", "the run was stopped")
    except Exception as error:  # a worker that cannot even start its cell: its reason is the cell's
        return _write(store, task, "failed", f"{type(error).__name__}: {error}".splitlines()[0])


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
