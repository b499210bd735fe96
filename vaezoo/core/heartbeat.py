"""The heartbeat of long work: loops tell that they go on, and a run that hears nothing for long ends the cell."""

import time
from collections.abc import Callable
from typing import Any

INTERVAL = 2.0
"""The fewest seconds between two beats that a listener hears."""
Listener = Callable[[dict[str, Any]], None]

_listener: Listener | None = None
_last = 0.0


def listen(listener: Listener | None) -> None:
    """Hand what is told to `listener`, and a beat at most once in INTERVAL seconds; None: to nothing."""
    global _listener, _last
    _listener, _last = listener, 0.0


def is_heard() -> bool:
    """Whether anything listens."""
    return _listener is not None


def tell(**message: Any) -> None:
    """Tell the listener something: the stage that begins, the epoch that has ended."""
    if _listener is not None:
        _listener(message)


def beat() -> None:
    """Tell that the work goes on. It costs a clock read where anything listens, and nothing elsewhere."""
    global _last
    if _listener is None:
        return
    now = time.monotonic()
    if now - _last >= INTERVAL:
        _last = now
        _listener({"alive": True})
