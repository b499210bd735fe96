"""The file in the results folder from which an interrupted training goes on."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from vaezoo.runner.files import write_atomically
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.store import Store
from vaezoo.training.checkpoint import Checkpoint, CheckpointClock
from vaezoo.training.state import Unusable

_FLAGS = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
"""No link is followed, and a pipe is not waited for. Each system has some of these."""


def checkpoint_of(tasks: Sequence[Task], device: str, clock: CheckpointClock, warned: list[str]) -> Checkpoint:
    """The checkpoint of a cell, or of a pack: its file has the stem of the first cell.

    warned: the warnings of the cell so far, a list that grows; those of an interrupted training are added to it.
    """
    store = Store(tasks[0].folder)
    return Checkpoint(
        [CheckpointFile(store.path("resume", task.cell.stem)) for task in tasks],
        keys=[task.cell.key for task in tasks],
        seeds=[task.cell.seed for task in tasks if task.cell.seed is not None],
        device=device.partition(":")[0],
        clock=clock,
        warned=warned,
    )


class CheckpointFile:
    """A file in the folder `resume` of a results folder."""

    def __init__(self, path: Path):
        self.path = path

    def read(self, most: int) -> bytes | None:
        """The content, or None where there is no file. Raises Unusable where it is no regular file of at most `most`
        bytes, or cannot be read.
        """
        flags = os.O_RDONLY
        for name in _FLAGS:
            flags |= getattr(os, name, 0)
        try:
            if self.path.is_symlink() or self.path.parent.is_symlink():
                raise Unusable("it is a link, or in a folder that is a link")
            handle = os.open(self.path, flags)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unusable(f"it cannot be read: {error.strerror or error}") from None
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise Unusable("it is no regular file")
            if found.st_size > most:
                raise Unusable(f"it has {found.st_size} bytes, and {most} at most are read")
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read(found.st_size)
        except OSError as error:
            raise Unusable(f"it cannot be read: {error.strerror or error}") from None
        finally:
            os.close(handle)

    def write(self, content: bytes) -> None:
        """Write the content atomically. Raises OSError where that is impossible."""
        if self.path.parent.is_symlink():
            raise OSError(f"{self.path.parent} is a link")
        write_atomically(self.path, content)
