"""Locks on devices: cells share a device; a timing waits until it has the device to itself, also among other runs."""

import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from vaezoo.core import heartbeat
from vaezoo.core.errors import VaezooWarning
from vaezoo.runner.machine.device import cores

try:
    import fcntl
except ImportError:  # Windows: runs do not see each other there
    fcntl = None  # type: ignore[assignment]

LOCKS = "VAEZOO_LOCKS"
"""The environment variable that names the folder of the lock files."""
PATIENCE = 300.0
"""Seconds that a timing waits for the cells of other runs to end."""
BUSY = 0.1
"""Share of the processor that other programs may use before a timing reports them."""
SHORTEST = 0.5
"""Seconds below which that share is not measured: the system counts processor time in hundredths of a second."""
_tell: Callable[[str], None] | None = None
"""What `say_through` was given."""
FOREIGN_BYTES = 2**30
"""Bytes of a GPU that other programs may hold before a timing reports them: more than the context of an idle one."""


def lock_path(device: str) -> Path:
    """The lock file of a device of this machine, in the folder of VAEZOO_LOCKS, else in the user's cache folder.

    RuntimeError where the user has no home folder.
    """
    one = "cuda:0" if device == "cuda" else device  # both name the same GPU
    name = f"{platform.node() or 'machine'}-{one.replace(':', '-')}.lock"  # a home folder may be on several machines
    if chosen := os.environ.get(LOCKS):
        return Path(chosen) / name
    variable, folder = ("LOCALAPPDATA", "AppData/Local") if sys.platform == "win32" else ("XDG_CACHE_HOME", ".cache")
    cache = os.environ.get(variable)
    return (Path(cache) if cache else Path.home() / folder) / "vaezoo" / "locks" / name


@contextmanager
def device_use(device: str, alone: bool = False) -> Iterator[list[str]]:
    """Hold a device while the block runs: shared with other cells, or `alone`, after they have ended.

    Yields a list. After the block it holds what disturbed a use that should have been alone: cells of another run that
    lasted longer than PATIENCE, other programs on the processor or in the GPU's memory, or no lock. Where the lock file
    cannot be opened the block runs without a lock; of a shared use a warning says so. A use that has to wait says so on
    stderr, at once and once.
    """
    disturbances: list[str] = []
    handle = None
    waiting = f"waiting for another run on {device}, at most {PATIENCE:.0f} s"
    try:
        handle = _opened(device)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        reason = f"no lock on {device}, so runs do not wait for each other's timings: {error}; set {LOCKS} to a folder"
        if alone:
            disturbances.append(reason)
        else:
            warnings.warn(reason, VaezooWarning, stacklevel=3)
    try:
        if handle is not None and not _locked(handle, alone, waiting):
            disturbances.append(f"timed while another run used {device}, which had not ended after {PATIENCE:.0f} s")
        before = _processor()
        yield disturbances
        if alone and (found := _others(device, before)):
            disturbances.append(found)
    finally:
        if handle is not None:
            os.close(handle)  # which releases the lock


def _opened(device: str) -> int | None:
    """A handle of the device's lock file; None where the system has no such locks."""
    if fcntl is None:
        return None
    path = lock_path(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600)


def say_through(tell: Callable[[str], None]) -> None:
    """Hand what `device_use` says to `tell`, where the output of this process goes to a log."""
    global _tell
    _tell = tell


def _say(line: str) -> None:
    if _tell is None:
        print(line, file=sys.stderr, flush=True)
    else:
        _tell(line)


def _locked(handle: int, alone: bool, waiting: str) -> bool:
    """Take the lock, exclusive where `alone`; whether it was free within PATIENCE. waiting: the line that is printed on
    stderr where it is not free at once.
    """
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    end, said = time.monotonic() + PATIENCE, False
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            if not said:
                _say(waiting)
                said = True
            heartbeat.beat()
            time.sleep(0.2)
        except OSError:  # a file system without locks
            return True


def _processor() -> tuple[float, float, float]:
    """Seconds since some start: of the clock, of all busy processors, of this process."""
    times = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "interrupt", "dpc")
    busy = sum(getattr(times, name, 0.0) for name in names)
    return time.monotonic(), float(busy), time.process_time()


def _others(device: str, before: tuple[float, float, float]) -> str | None:
    """How other programs used the device since `before`, in words; None where it is too little to matter."""
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device)
        foreign = total - free - torch.cuda.memory_reserved(device)
        held = f"timed while other processes held {foreign / 2**30:.1f} GiB of {device}"
        return held if foreign > FOREIGN_BYTES else None
    seconds, busy, own = (end - start for end, start in zip(_processor(), before, strict=True))
    if seconds < SHORTEST:
        return None
    share = (busy - own) / (seconds * (os.cpu_count() or cores()))
    return f"timed while other programs used {share:.0%} of the processor" if share > BUSY else None
