"""The events of a run, made from what a watcher sees, for a file, TensorBoard or a callable."""

import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.runner.json_values import json_value
from vaezoo.runner.plan.cell import Cell, Kind, Task
from vaezoo.runner.records import CellProgress, Record, Status, reason_of
from vaezoo.runner.run import Watcher
from vaezoo.runner.store import Store

EventKind = Literal["run-start", "cell-start", "epoch", "cell-end", "run-end"]


@dataclass(frozen=True)
class Event:
    """One event of a run.

    time: in UTC, ISO 8601. stem: of the cell's record; seed: None for a timing. Of an epoch: epoch, epochs, objective
    and validation_iwll in nats an image, seconds in training steps so far. Of an end: status, reason, and seconds of
    the whole cell or run. total: of a run's start, the cells that are to run.
    """

    kind: EventKind
    time: str
    stem: str | None = None
    label: str | None = None
    variant: str | None = None
    dataset: str | None = None
    seed: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    objective: float | None = None
    validation_iwll: float | None = None
    status: str | None = None
    reason: str | None = None
    seconds: float | None = None
    total: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Every fact that is not None. NaN and infinities are left out too: JSON has none."""
        value: dict[str, Any] = json_value(vars(self))
        return {name: each for name, each in value.items() if each is not None}


Receiver = Callable[[Event], object]
"""What is handed each event."""


class Events:
    """A watcher that hands the events of a run to receivers, and everything it sees to another watcher: `with
    Events(watcher, receivers) as events: carry_out(..., watcher=events)`.

    The progress of a cell holds its last epoch alone: epochs that pass between two ticks are handed over when the cell
    ends, from its record. A receiver that raises an Exception does not end the run; a warning says so once.
    """

    def __init__(self, watcher: Watcher, receivers: Sequence[Receiver]):
        self.watcher, self.receivers = watcher, receivers
        self.epochs: dict[str, set[int]] = {}
        self.running: dict[str, Cell] = {}
        self.failed: set[int] = set()
        self.started: float | None = None

    def begin(self, kind: Kind, total: int, kept: int) -> None:
        """The cells, or the timings, begin. The first of them is the start of the run."""
        if self.started is None:
            self.started = time.monotonic()
            self._hand("run-start", total=total)
        self.watcher.begin(kind, total, kept)

    def tick(self, running: Sequence[Task]) -> None:
        """Hand over which cells started and which epochs ended since the last tick."""
        for task in running if self.receivers else ():
            self._start(task.cell)
            progress = Store(task.folder).progress(task.cell.stem)
            if progress is not None:
                self._epoch(task.cell, progress)
        self.watcher.tick(running)

    def finished(self, task: Task, status: Status) -> None:
        """Hand over the epochs that no tick saw, and the end of the cell."""
        cell, record = task.cell, Store(task.folder).record(task.cell.kind, task.cell.stem)
        self._start(cell)
        for progress in [] if record is None else _history(record):
            self._epoch(cell, progress)
        reason, seconds = (None, None) if record is None else (record.reason, record.seconds)
        self._end(cell, status, reason, seconds)
        self.watcher.finished(task, status)

    def __enter__(self) -> "Events":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hand over the ends of what still runs and of the run, and close the receivers that have a `close`."""
        stopped = error is not None
        for cell in list(self.running.values()):
            self._end(cell, "interrupted", "the run was stopped", None)
        if self.started is not None:
            status = "ok" if not stopped else "failed" if isinstance(error, Exception) else "interrupted"
            reason = reason_of(error) if isinstance(error, Exception) else None
            self._hand("run-end", status=status, reason=reason, seconds=time.monotonic() - self.started)
        for place, receiver in enumerate(self.receivers):
            self._safely(place, getattr(receiver, "close", lambda: None))

    def _start(self, cell: Cell) -> None:
        if cell.stem not in self.running:
            self.running[cell.stem] = cell
            self._hand("cell-start", cell)

    def _epoch(self, cell: Cell, progress: CellProgress) -> None:
        """Hand over an epoch, once."""
        known = self.epochs.setdefault(cell.stem, set())
        if progress.epoch not in known:
            known.add(progress.epoch)
            facts = vars(progress)
            self._hand("epoch", cell, **{name: value for name, value in facts.items() if name != "pid"})

    def _end(self, cell: Cell, status: str, reason: str | None, seconds: float | None) -> None:
        del self.running[cell.stem]
        self.epochs.pop(cell.stem, None)
        self._hand("cell-end", cell, status=status, reason=reason, seconds=seconds)

    def _hand(self, kind: EventKind, cell: Cell | None = None, **facts: Any) -> None:
        if cell is not None:
            facts |= {name: getattr(cell, name) for name in ("stem", "label", "variant", "dataset", "seed")}
        event = Event(kind, datetime.now(UTC).isoformat(timespec="milliseconds"), **facts)
        for place, receiver in enumerate(self.receivers):
            self._safely(place, receiver, event)

    def _safely(self, place: int, call: Callable[..., object], *arguments: object) -> None:
        """Call a receiver; what it raises is a warning, once."""
        try:
            call(*arguments)
        except Exception as error:
            if place not in self.failed:
                self.failed.add(place)
                name = getattr(self.receivers[place], "__qualname__", None) or str(self.receivers[place])
                warnings.warn(f"events are lost: {name}: {reason_of(error)}", VaezooWarning, stacklevel=2)


def _history(record: Record) -> list[CellProgress]:
    """Every epoch of a record, as a running cell reports it."""
    columns = [record.history.get(name) or [] for name in ("objective", "validation_iwll", "seconds")]
    epochs = record.specification.train.epochs
    return [
        CellProgress(number, epochs, objective, validation, seconds or 0.0, 0)
        for number, (objective, validation, seconds) in enumerate(zip(*columns, strict=False), start=1)
    ]


class EventFile:
    """Appends each event to a file as one line of JSON, which is on its way to the disk when the call returns.

    Raises VaezooError where the file cannot be opened; a call raises OSError where the disk is full.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise VaezooError(
                f"events cannot be written to {path}: {error.strerror or error}; give another file"
            ) from None
        self.torn = False

    def __call__(self, event: Event) -> None:
        """Write one line, by one write. A line that did not fit on the disk is ended before the next."""
        line = b"\n" * self.torn + json.dumps(event.to_json()).encode() + b"\n"
        if (written := os.write(self.handle, line)) < len(line):
            self.torn = True
            raise OSError(f"only {written} of {len(line)} bytes of a line were written")
        self.torn = False

    def close(self) -> None:
        """Close the file."""
        os.close(self.handle)

    def __str__(self) -> str:
        return str(self.path)


class TensorBoard:
    """Writes the objective and the validation iwll of each epoch for TensorBoard, a folder for each cell.

    Raises VaezooError where the package tensorboard is not installed.
    """

    def __init__(self, folder: str | Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise VaezooError(
                "--tensorboard needs the package tensorboard: pip install 'vaezoo[tensorboard]'"
            ) from None
        self.folder, self.make = Path(folder), SummaryWriter
        self.writers: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        """Write the numbers of an epoch."""
        if event.kind == "epoch" and event.stem is not None:
            if event.stem not in self.writers:
                self.writers[event.stem] = self.make(str(self.folder / event.stem), flush_secs=10)
            for name in ("objective", "validation_iwll"):
                if (value := getattr(event, name)) is not None:
                    self.writers[event.stem].add_scalar(name, value, event.epoch)
        elif event.kind == "cell-end" and event.stem in self.writers:
            self.writers.pop(event.stem).close()

    def close(self) -> None:
        """Write what is still in memory."""
        for writer in self.writers.values():
            writer.close()
        self.writers.clear()

    def __str__(self) -> str:
        return str(self.folder)


def receivers(file: Path | None, tensorboard: Path | None) -> list[Receiver]:
    """What `--events` and `--tensorboard` ask for."""
    found: list[Receiver] = [] if tensorboard is None else [TensorBoard(tensorboard)]
    return found if file is None else [*found, EventFile(file)]
