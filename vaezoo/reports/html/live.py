"""Keeps the report of a results folder current while a run is going."""

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaezoo.core.errors import VaezooWarning
from vaezoo.reports.html.report import NAME, write_report
from vaezoo.runner.records import reason_of

LEAST = 30.0
"""Seconds between two reports of a run that is going."""
SHARE = 0.02
"""The largest share of the time that the reports may take."""


class Reporting:
    """A watcher that writes the report of the run's folder again when records have been written, and passes on what it
    sees. A report that cannot be written does not end the run: a warning says so once.
    """

    def __init__(self, watcher: Any, folder: Path) -> None:
        self.watcher, self.folder = watcher, folder
        self.has_news, self.has_failed = True, False
        self.due = 0.0

    def begin(self, kind: Any, total: int, kept: int) -> None:
        """Pass it on."""
        self.watcher.begin(kind, total, kept)

    def tick(self, running: Sequence[Any]) -> None:
        """Pass it on, and write the report where it is due."""
        self.watcher.tick(running)
        self._write()

    def finished(self, task: Any, status: Any) -> None:
        """Pass it on: a record has been written."""
        self.has_news = True
        self.watcher.finished(task, status)

    def _write(self) -> None:
        started = time.monotonic()
        if not self.has_news or started < self.due or self.has_failed:
            return
        try:
            write_report([self.folder], self.folder / NAME, is_running=True)
        except Exception as error:  # whatever it is, the run is worth more
            self.has_failed = True
            told = f"the report could not be written while the run goes on: {reason_of(error)}"
            warnings.warn(told, VaezooWarning, stacklevel=2)
        now = time.monotonic()
        self.has_news, self.due = False, now + max(LEAST, (now - started) / SHARE)
