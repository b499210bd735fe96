"""What a cell may take before the run ends it, and how often it is tried again."""

import re
from dataclasses import dataclass

from vaezoo.core.errors import VaezooError
from vaezoo.training.checkpoint import CHECKPOINT_SECONDS

STALL = 600.0
"""Seconds without progress, beyond the slowest epoch so far, after which a cell counts as hanging."""
PLANNING = 120.0
"""The most seconds that the import of a plugin, or the rehearsal of a row, may take."""


@dataclass(frozen=True)
class Limits:
    """timeout: seconds a cell, None for no limit. stall: seconds without progress beyond its slowest epoch so far.
    memory: bytes of a cell with its descendants, None for what the machine has. retries: how often a cell is started
    again after an end that another attempt may not have (killed, out of memory, stalled). checkpoint: seconds between
    two checkpoints of a cell's training.
    """

    timeout: float | None = None
    stall: float = STALL
    memory: int | None = None
    retries: int = 1
    checkpoint: float = CHECKPOINT_SECONDS

    @property
    def planning(self) -> float:
        """Seconds that the import of a plugin, or the rehearsal of a row, may take."""
        return min(self.stall, PLANNING)


def parse_memory(text: str) -> int:
    """`8G`, `1.5 GiB` or `500M` in bytes. VaezooError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    size = float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ") if match else 0.0
    if size < 1:
        raise VaezooError(f"--max-memory must be a size such as 8G or 500M, got {text!r}")
    return int(size)
