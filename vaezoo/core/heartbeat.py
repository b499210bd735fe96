"""The heartbeat of long work: loops tell that they go on, and a run that hears nothing for long ends the cell."""

import time
from collections.abc import Callable

INTERVAL = 2.0
"""The fewest seconds between two beats that a listener hears."""

_listener: Callable[[], None] | None = None
_last = 0.0


def listen(listener: Callable[[], None] | None) -> None:
    """Call `listener` at a beat, at most once in INTERVAL seconds; None: at none."""
    global _listener, _last
    _listener, _last = listener, 0.0


def beat() -> None:
    """Tell that the work goes on. It costs a clock read where anything listens, and nothing elsewhere."""
    global _last
    if _listener is None:
        return
    now = time.monotonic()
    if now - _last >= INTERVAL:
        _last = now
        _listener()
