"""Who uses a device: cells share it, a timing has it to itself, also against other runs on this machine."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from vaezoo.runner.machine.device import cores

try:
    import fcntl
except ImportError:  # Windows: runs do not see each other there
    fcntl = None  # type: ignore[assignment]

PATIENCE = 300.0
"""Seconds that a timing waits for the cells of other runs to end."""
BUSY = 0.1
"""The share of the processor that other programs may use before a timing says so."""
SHORTEST = 0.5
"""Seconds under which that cannot be told: processors count in hundredths of a second."""
FOREIGN_BYTES = 2**30
"""The memory that other programs may hold on a GPU before a timing says so: more than the context of an idle one."""


@contextmanager
def device_use(device: str, alone: bool = False) -> Iterator[list[str]]:
    """Hold a device while the block runs: together with other cells, or `alone`, after they have ended.

    Yields a list that says, once the block has ended, what disturbed the one that should have been alone: cells of
    another run that lasted longer than PATIENCE, or other programs on the processor or in the GPU's memory.
    """
    said: list[str] = []
    user = os.getuid() if hasattr(os, "getuid") else "user"
    one = "cuda:0" if device == "cuda" else device  # the same GPU by both its names
    path = Path(tempfile.gettempdir()) / f"vaezoo-{user}-{one}.lock"
    with path.open("a") as file:
        if fcntl is not None and not _taken(file.fileno(), alone):
            said.append(f"timed while another run used {device}, which had not ended after {PATIENCE:.0f} s")
        before = _processor()
        yield said
        if alone and (disturbed := _others(device, before)):
            said.append(disturbed)


def _taken(handle: int, alone: bool) -> bool:
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.2)


def _processor() -> tuple[float, float, float] | None:
    """Seconds since some start: of the clock, of all busy processors, of this process; None where it cannot be told."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, *_ = map(float, stat.read_text().split("\n", 1)[0].split()[1:])
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), busy, time.process_time()


def _others(device: str, before: tuple[float, float, float] | None) -> str | None:
    """What other programs did on the device meanwhile, in words; None for nothing that matters."""
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device)
        foreign = total - free - torch.cuda.memory_reserved(device)
        return f"timed with {foreign / 2**30:.1f} GiB of {device} in other hands" if foreign > FOREIGN_BYTES else None
    after = _processor()
    if before is None or after is None:
        return None
    seconds, busy, own = (end - start for end, start in zip(after, before, strict=True))
    if seconds < SHORTEST:
        return None
    share = (busy - own) / (seconds * (os.cpu_count() or cores()))
    return f"timed while other programs used {share:.0%} of the processor" if share > BUSY else None
