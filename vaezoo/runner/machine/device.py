"""Facts about a device: its name, its cores, its memory, and the peak of the memory in use."""

import os
import re
import sys
from pathlib import Path

import psutil
import torch

from vaezoo.core.errors import VaezooError
from vaezoo.core.processor import processor_name

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

PROCESS = Path("/proc/self")
"""What Linux records of this process; the folder does not exist on other systems."""


def resolve_device(name: str) -> str:
    """The device of a name; "auto" is the first GPU where there is one, else the CPU.

    Raises VaezooError for a device that torch does not see.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise VaezooError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise VaezooError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cpu" and device.index is not None:
        raise VaezooError(f"device {name!r}: a CPU has no number; use cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise VaezooError(
            f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    return name


def describe(device: str) -> str:
    """The name of the GPU or of the processor."""
    return str(torch.cuda.get_device_name(device)) if device.startswith("cuda") else processor_name()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory(device: str) -> int:
    """Total memory of the device, in bytes."""
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def restart_peak_memory(device: str) -> None:
    """Begin a new peak, so that `peak_memory` measures one piece of work of a process that does several.

    Where the system cannot restart its record of a process (anywhere but on Linux), the peak is that of the whole
    process.
    """
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _restart_resident_peak()


def peak_memory(device: str) -> int:
    """Peak since the restart, in bytes: what torch allocated on a GPU, or the resident memory of the process on a CPU,
    which includes torch itself.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    return _resident_peak()


def held_memory(device: str) -> int:
    """The memory that this process holds now, in bytes, without pages of files: on a GPU none.

    Pages of files (torch's code, mapped data) belong to all processes that read them, and those that a forked process
    has of its parent come into its count as it reads them.
    """
    return 0 if device.startswith("cuda") else _without_files(psutil.Process().memory_info().rss)


def own_memory(device: str, held: int) -> int:
    """`peak_memory` since the restart, without pages of files and beyond `held_memory` before the work, in bytes.

    Linux counts the pages of files now, not at the peak: those that were read after it make the result too low.
    """
    peak = peak_memory(device)
    return peak if device.startswith("cuda") else max(0, _without_files(peak) - held)


def _without_files(resident: int) -> int:
    """Resident bytes without the pages of files that are resident now, where the system counts them (Linux)."""
    return resident - int(getattr(psutil.Process().memory_info(), "shared", 0))


def _restart_resident_peak() -> bool:
    """Have Linux restart its record of the highest resident memory; False where that is not possible.

    psutil has no counterpart of this file.
    """
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _resident_peak() -> int:
    """The highest resident memory of this process in bytes, from the first source that the system has.

    Linux's VmHWM (the one record that can be restarted), Windows' peak working set through psutil, `getrusage`, and
    last the resident memory at this moment.
    """
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", (PROCESS / "status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    now = psutil.Process().memory_info()
    if hasattr(now, "peak_wset"):
        return int(now.peak_wset)
    if resource is None:
        return int(now.rss)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
