"""Temporary folders of runs, which no kill leaves behind for ever."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A temporary folder of this process. Those of runs that were killed are removed first."""
    place = Path(tempfile.gettempdir())
    for old in place.glob("vaezoo-*-*"):
        pid = old.name.split("-")[1]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"vaezoo-{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
