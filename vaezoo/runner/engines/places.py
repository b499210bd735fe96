"""Where the jobs of an engine run: this machine, or a cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from vaezoo.runner.children.client import Event
from vaezoo.runner.plan.cell import Task


class Places(Protocol):
    """What an engine asks of the machines that run its jobs. A job is a pack of tasks in one process."""

    def has_room(self) -> bool:
        """Whether another job can start now."""

    def start(self, tasks: Sequence[Task], log: Path) -> int:
        """Begin a job where there is room, and return its number. log: the file of what it prints."""

    def events(self, timeout: float) -> list[Event]:
        """What the jobs have told since the last call; waits at most `timeout` seconds for something.

        The files of a job's cells are in their results folder before its end is told. A job that uses too much memory
        is ended, and Event.excess says so before its end is told.
        """

    def kill(self, job: int, number: int) -> None:
        """Send a signal to a job's process; SIGKILL ends it with all its descendants."""
