"""Facts about a device: its name, its memory, the peak of what was used."""

import os
import platform
import resource
import sys
from pathlib import Path

import torch

from vaezoo.core.errors import VaezooError


def resolve_device(name: str) -> str:
    """ "auto" is the first GPU where there is one, else the CPU; VaezooError for a device that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise VaezooError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise VaezooError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise VaezooError(
            f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    return name


def describe(device: str) -> str:
    """The name of the GPU, or of the processor."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory(device: str) -> int | None:
    """Bytes of the device's memory, None where it cannot be told."""
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def restart_peak_memory(device: str) -> None:
    """Begin a new peak: a worker serves many cells."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    else:
        clear = Path("/proc/self/clear_refs")
        if os.access(clear, os.W_OK):
            clear.write_text("5")


def peak_memory(device: str) -> int:
    """Peak bytes since the restart: what torch held on a GPU; on a CPU the process's resident memory, torch itself
    among it.
    """
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
