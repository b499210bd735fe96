"""Runs jobs in child processes of this machine."""

from collections.abc import Sequence
from pathlib import Path

from vaezoo.runner.children.client import KILL, Children, Event
from vaezoo.runner.engines.watch import MemoryWatch
from vaezoo.runner.plan.cell import Task

SERVE = "vaezoo.runner.work.serve:serve"


class ThisMachine:
    """Places for one job at a time on each of `devices` (a device that is listed twice has two), each with `threads`
    threads.

    memory: bytes that a cell may use, None for what the machine has. checkpoint: seconds between two checkpoints.
    """

    def __init__(
        self, children: Children, *, devices: Sequence[str], threads: int, memory: int | None, checkpoint: float
    ):
        self.children, self.threads, self.checkpoint = children, threads, checkpoint
        self.free = list(devices)[::-1]
        self.used: dict[int, str] = {}
        self.pids: dict[int, int] = {}
        self.watch = MemoryWatch(memory)

    def has_room(self) -> bool:
        """Whether a device is free."""
        return bool(self.free)

    def start(self, tasks: Sequence[Task], log: Path) -> int:
        """Begin a job on a device that is free."""
        device = self.free.pop()
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = {
            "tasks": [task.to_json() for task in tasks],
            "device": device,
            "threads": self.threads,
            "log": str(log),
            "checkpoint_seconds": self.checkpoint,
        }
        job = self.children.start(SERVE, arguments, str(log))
        self.used[job] = device
        return job

    def events(self, timeout: float) -> list[Event]:
        """What the children have told; those that use too much memory are ended."""
        found = [event for event in self.children.events(timeout) if event.job in self.used]
        for event in found:
            if event.restarted:
                self.pids.pop(event.job, None)
            if event.pid is not None:
                self.pids[event.job] = event.pid
            if event.ended is not None:
                self.pids.pop(event.job, None)
                self.free.append(self.used.pop(event.job))
        for job, reason in self.watch.excess(self.pids).items():
            del self.pids[job]
            self.kill(job, KILL)
            found.append(Event(job, excess=reason))
        return found

    def kill(self, job: int, number: int) -> None:
        """Send a signal to a job's process."""
        self.children.kill(job, number)
