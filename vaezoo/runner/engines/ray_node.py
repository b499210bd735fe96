"""A place on a node of a Ray cluster: it runs in an actor, and its cells in child processes of that."""

import platform
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import vaezoo
from vaezoo.runner.children.client import Children, Event
from vaezoo.runner.engines.shipping import Change, Mirror, code_digest, place, unpack
from vaezoo.runner.engines.this_machine import ThisMachine
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.temporary import temporary_folder

WAIT = 0.25
"""Seconds that a call waits for something to tell."""


@dataclass(frozen=True)
class Order:
    """A job for a node. tasks: as JSON, with the label of their data instead of its folder, and without plugin files.
    files: of their cells, from earlier attempts. plugins: each plugin file, by its path in its bundle, and that bundle.
    """

    job: int
    tasks: list[dict[str, Any]]
    files: list[Change]
    plugins: list[tuple[str, dict[str, bytes]]]


@dataclass(frozen=True)
class Parcel:
    """What a node tells: events, and the changes of files that belong before them. number: counted in its job."""

    number: int
    events: list[Event]
    changes: list[Change]


@dataclass
class _Work:
    """The job that runs. number: its, in the run. last: whether its end has been told."""

    number: int
    tasks: list[Task]
    child: int
    mirror: Mirror
    parcels: list[Parcel] = field(default_factory=list)
    count: int = 0
    last: bool = False


class Node:
    """Runs one job at a time. Its methods are called one after the other.

    memory, checkpoint: as ThisMachine has them.
    """

    def __init__(self, device: str, threads: int, memory: int | None, checkpoint: float):
        self._ends = ExitStack()
        self.folder = self._ends.enter_context(temporary_folder())
        children = self._ends.enter_context(Children())
        children.warm_up()
        self.machine = ThisMachine(children, devices=[device], threads=threads, memory=memory, checkpoint=checkpoint)
        self.work: _Work | None = None

    def facts(self) -> dict[str, str]:
        """What must agree on all machines, and this one's name, and its id in the cluster."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return {"host": platform.node(), "node": node, "vaezoo": vaezoo.__version__, "code": code_digest()}

    def start(self, order: Order, data: dict[str, dict[str, Any]]) -> list[Parcel]:
        """Begin a job, and tell what there is to tell. data: label -> file name -> bytes, of data sets that this node
        does not have yet.
        """
        for label, files in data.items():
            home = self.folder / "data" / label
            home.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                content.tofile(home / name)
        plugins = [unpack(files, self.folder / "plugins") / name for name, files in order.plugins]
        results = self.folder / "results" / str(order.job)
        tasks = [self._here(Task.from_json(value), results, plugins) for value in order.tasks]
        place(tasks, order.files)
        mirror = Mirror(tasks)
        mirror.changes()
        log = mirror.store.path("logs", tasks[0].cell.stem)
        self.work = _Work(order.job, tasks, self.machine.start(tasks, log), mirror)
        return self.poll(order.job, 0)

    def _here(self, task: Task, results: Path, plugins: Sequence[Path]) -> Task:
        """A task with the paths of this node."""
        data = None if task.data is None else self.folder / "data" / str(task.data)
        return replace(task, folder=results, plugins=tuple(plugins), data=data)

    def poll(self, job: int, seen: int) -> list[Parcel]:
        """The parcels of a job from number `seen` on. Waits a little where there is nothing to tell."""
        work = self._work(job)
        work.parcels = [parcel for parcel in work.parcels if parcel.number >= seen]
        if not work.parcels and not work.last:
            events = [replace(event, job=job) for event in self._told() if event.job == work.child]
            work.last = any(event.ended is not None for event in events)
            changes = work.mirror.changes("running", *(["logs"] if work.last else []))
            if events or changes:
                work.parcels.append(Parcel(work.count, events, changes))
                work.count += 1
            if work.last:
                shutil.rmtree(work.tasks[0].folder, ignore_errors=True)
        return work.parcels

    def _told(self) -> list[Event]:
        """What the child tells in the time of a call, or until it ends."""
        end, found = time.monotonic() + WAIT, list[Event]()
        while (left := end - time.monotonic()) > 0 and not any(event.ended is not None for event in found):
            found += self.machine.events(min(left, 0.1))
        return found

    def kill(self, job: int, number: int) -> None:
        """Send a signal to the process of a job."""
        self.machine.kill(self._work(job).child, signal.Signals(number))

    def _work(self, job: int) -> _Work:
        if self.work is None or self.work.number != job:
            raise LookupError(f"the node does not run job {job}")
        return self.work

    def close(self) -> None:
        """End the child processes, and remove the node's files."""
        self._ends.close()
