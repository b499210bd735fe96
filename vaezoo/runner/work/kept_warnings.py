"""vaezoo's warnings, kept for the record of a cell."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vaezoo.core.errors import VaezooWarning

MOST = 100
"""Warnings that the record of a cell keeps."""


@contextmanager
def warnings_kept() -> Iterator[list[str]]:
    """Collects vaezoo's warnings, each line once, for the record. Every warning goes to the log as usual."""
    kept: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", VaezooWarning)
        shown = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            """Keep the message, and show it."""
            if issubclass(category, VaezooWarning) and str(message) not in kept and len(kept) < MOST:
                kept.append(str(message))
            shown(message, category, *where, **more)

        warnings.showwarning = show
        yield kept
