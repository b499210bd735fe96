"""Watches the memory of running cells."""

import contextlib
import time
from collections.abc import Mapping

import psutil

INTERVAL = 0.1
"""Seconds between two looks at the machine's free memory."""
OWN_INTERVAL = 0.5
"""Seconds between two looks at the memory of each cell."""
RESERVE = 0.04
"""Share of the machine's memory below which the largest cell is ended, before the system ends anything."""


class MemoryWatch:
    """Finds the cells that use more memory than they may. limit: bytes of a cell with its descendants, or None."""

    def __init__(self, limit: int | None):
        self.limit = limit
        self.peaks: dict[int, int] = {}
        self._looked = self._measured = 0.0

    def excess(self, pids: Mapping[int, int]) -> dict[int, str]:
        """The jobs to end, each with its reason. pids: job -> its process."""
        now = time.monotonic()
        if now - self._looked < INTERVAL:
            return {}
        self._looked = now
        scarce = psutil.virtual_memory()
        low = scarce.available < RESERVE * scarce.total
        if not low and now - self._measured < OWN_INTERVAL:
            return {}
        self._measured = now
        used = {job: _resident(pid) for job, pid in pids.items()}
        for job, size in used.items():
            self.peaks[job] = max(size, self.peaks.get(job, 0))
        if low and used:
            largest = max(used, key=lambda job: used[job])
            free = _gib(scarce.available)
            return {largest: f"it used {_gib(used[largest])}, the most of all here, and the machine had {free} left"}
        limit = self.limit
        return {
            job: f"it used {_gib(size)}, and --max-memory is {_gib(limit)}"
            for job, size in used.items()
            if limit is not None and size > limit
        }


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _resident(pid: int) -> int:
    """Bytes of resident memory of a process and its descendants, without what it shares with the fork server."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                found = each.memory_info()
                total += found.rss - getattr(found, "shared", 0)
    return total
