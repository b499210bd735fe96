"""Claims on cells: several runs on one results folder share its work, and no cell is run by two of them at a time.

A claim is a file `claims/<stem>` that one run creates and no other can create. Its owner renews it. A claim that has
not been renewed for EXPIRY seconds, or whose process on this machine has ended, has expired, and any run may remove it.
Only the creation and the renaming of files are used, so it works on shared file systems without locks.
"""

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import psutil

from vaezoo.runner.files import machine

EXPIRY = 60.0
"""Seconds after which a claim that its run has not renewed counts for nothing."""
RENEWAL = 10.0
"""Seconds between two renewals."""


class Claims:
    """The claims of one run in a results folder, as a context: they are renewed within it and released at its end."""

    def __init__(self, folder: Path):
        self.folder = folder / "claims"
        self.mine = json.dumps({"host": machine(), "pid": os.getpid(), "run": uuid.uuid4().hex}).encode()
        self.held: set[str] = set()
        self._lock, self._ended = threading.Lock(), threading.Event()

    def __enter__(self) -> "Claims":
        self.folder.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._renew, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.release(list(self.held))
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # where no other run has claims

    def take(self, stem: str) -> bool:
        """Claim a cell; False where another run holds it. Raises OSError where the folder cannot be written to."""
        path = self.folder / stem
        for _ in range(2):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)  # another run may have removed the empty folder
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                if not self._remove_expired(path):
                    return False
                continue
            except FileNotFoundError:
                continue
            with os.fdopen(handle, "wb") as file:
                file.write(self.mine)
            with self._lock:
                self.held.add(stem)
            return True
        return False

    def release(self, stems: Iterable[str]) -> None:
        """Give up claims that this run holds."""
        for stem in stems:
            with self._lock:
                self.held.discard(stem)
            if _content(self.folder / stem) == self.mine:
                with contextlib.suppress(OSError):
                    (self.folder / stem).unlink()

    def _renew(self) -> None:
        while not self._ended.wait(RENEWAL):
            with self._lock:
                for stem in self.held:
                    with contextlib.suppress(OSError):
                        os.utime(self.folder / stem)

    def _remove_expired(self, path: Path) -> bool:
        """Remove a claim that has expired, or has just been released; whether it is gone."""
        seen = _content(path)
        if seen is None:
            return True
        if not is_expired(path):
            return False
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return True
        if _content(aside) != seen:  # another run had replaced it since: it is put back
            with contextlib.suppress(OSError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)
        return _content(path) is None


def claimed(folder: Path) -> set[str]:
    """The stems of the cells in a results folder that a run holds now."""
    place = folder / "claims"
    found = list(place.iterdir()) if place.is_dir() else []
    return {path.name for path in found if not path.name.startswith(".") and not is_expired(path)}


def is_expired(path: Path) -> bool:
    """Whether a claim's process has ended, or, on another machine, the claim has not been renewed for EXPIRY seconds.

    The times of another machine's files are those of the file system, so that clocks which differ do not matter.
    """
    content = _content(path)
    try:
        owner = json.loads(content or b"")
        if owner["host"] == machine():
            return not _alive(int(owner["pid"]), path)
    except (ValueError, TypeError, KeyError):
        pass  # its owner is about to write it, or it is damaged
    try:
        return _time_of(path.parent) - path.stat().st_mtime > EXPIRY
    except OSError:
        return True


def _alive(pid: int, path: Path) -> bool:
    """Whether the process that made a claim runs still, and is not a later one with the same number."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= path.stat().st_mtime + 1)
    except (psutil.Error, OSError):
        return False


def _time_of(folder: Path) -> float:
    """The time now, by the clock of the folder's file system."""
    probe = folder / f".{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        probe.unlink(missing_ok=True)


def _content(path: Path) -> bytes | None:
    """The first bytes of a claim; None where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return None
