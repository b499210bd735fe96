"""A bar for long work that a user of the library waits for. In a cell it is a heartbeat."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from vaezoo.core import heartbeat

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE = 1.0
"""Seconds after which a bar appears."""
Step = TypeVar("Step")


def with_progress(steps: Sequence[Step], title: str) -> Iterator[Step]:
    """The steps one after the other. Each is a heartbeat; work of more than PATIENCE seconds shows a bar with the time
    left on standard error, where that is a terminal or a notebook and no run listens to the heartbeat.
    """
    started, bar = time.monotonic(), None
    try:
        for done, step in enumerate(steps):
            yield step
            heartbeat.beat()
            if bar is not None:
                bar.update(bar.task_ids[0], completed=done + 1)
            elif not heartbeat.is_heard() and time.monotonic() - started > PATIENCE and _can_show():
                bar = _bar(title, len(steps), done + 1)
    finally:
        if bar is not None:
            bar.stop()


def _can_show() -> bool:
    """Whether standard error is a terminal, or this a notebook with ipywidgets."""
    notebook = "ipykernel" in sys.modules and find_spec("ipywidgets") is not None
    return notebook or (sys.stderr is not None and sys.stderr.isatty())


def _bar(title: str, total: int, done: int) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    bar.add_task(title, total=total, completed=done)
    bar.start()
    return bar
