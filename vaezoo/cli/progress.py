"""Shows a run: bars on a terminal, a line for each finished cell elsewhere."""

import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.progress import Task as RichTask
from rich.progress import TaskID as RichTaskID

from vaezoo.core.visible_text import visible
from vaezoo.runner.claims import claimed
from vaezoo.runner.plan.cell import Kind, Task
from vaezoo.runner.plan.stored import is_plain_name
from vaezoo.runner.records import CellProgress, Status
from vaezoo.runner.store import Store


def _pseudo(task: Task) -> str:
    """The mark behind the likelihood of a model that does not score the measure of its data."""
    return " (pseudo-likelihood)" if task.cell.comparability.pseudo_likelihood else ""


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _TimeLeft(ProgressColumn):
    """Our own estimate, once there is one. Cells differ in length, so rich's rate would mislead."""

    def render(self, task: RichTask) -> str:
        """Time left, as m:ss."""
        left = task.fields.get("left")
        return "" if left is None else f"{_span(left)} left"


class Live:
    """A watcher that shows the cells done, each running cell's epoch, objective and validation iwll, and the time left.

    On a terminal, and in a notebook that has ipywidgets, as live bars; elsewhere (a log, CI) one line for each finished
    cell.
    """

    def __init__(self, console: Console):
        self.console = console
        self.has_bars = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            _TimeLeft(),
            console=console,
            transient=True,
        )
        self.cells: dict[str, RichTaskID] = {}
        self.total = self.done = 0
        self.started = time.monotonic()
        self.overall: RichTaskID | None = None

    def begin(self, kind: Kind, total: int, kept: int) -> None:
        """The cells, or the timings, begin. total: how many are to run. kept: how many have a final record already."""
        self.total, self.done, self.started = total, 0, time.monotonic()
        note = f", {kept} already done" if kept else ""
        self.console.print(f"{kind}: {total} to run{note}", highlight=False)
        if not self.has_bars or not total:
            return
        if self.overall is not None:
            self.bars.remove_task(self.overall)
        self.overall = self.bars.add_task(kind, total=total, text=f"0/{total}", left=None)
        self.bars.start()

    def tick(self, running: Sequence[Task]) -> None:
        """Read what the running cells last reported, and draw it."""
        if self.overall is None:
            return
        stems = {task.cell.stem for task in running}
        for stem in set(self.cells) - stems:
            self.bars.remove_task(self.cells.pop(stem))
        work = self.done + sum(self._draw(task) for task in running)
        left = (time.monotonic() - self.started) / work * (self.total - work) if work > 0.2 else None
        self.bars.update(self.overall, completed=work, text=f"{self.done}/{self.total}", left=left)

    def _draw(self, task: Task) -> float:
        """Draw the bar of a running task; the share of its epochs that are done."""
        stem, progress = task.cell.stem, Store(task.folder).progress(task.cell.stem)
        share, text, left = 0.0, "starting", None
        if progress is not None:
            share = progress.epoch / progress.epochs
            left = progress.seconds * (1 / share - 1)
            text = f"epoch {progress.epoch}/{progress.epochs}"
            text += "" if progress.objective is None else f"  objective {progress.objective:.2f}"
            if progress.validation_iwll is not None:
                text += f"  validation iwll {progress.validation_iwll:.2f}{_pseudo(task)}"
        if stem not in self.cells:
            self.cells[stem] = self.bars.add_task(f"  {visible(task.cell.title)}", total=1, text=text, left=None)
        self.bars.update(self.cells[stem], completed=share, text=text, left=left)
        return share

    def finished(self, task: Task, status: Status) -> None:
        """Print one line for the cell: its status, its time, its iwll or why it failed."""
        self.done += 1
        record = Store(task.folder).record(task.cell.kind, task.cell.stem)
        text = f"[{self.done}/{self.total}] {status:8s} {task.cell.title}"
        if record is not None:
            text += "" if record.seconds is None else f"  {record.seconds:.1f} s"
            iwll = record.results.get("iwll")
            text += "" if iwll is None else f"  iwll {iwll:.2f}{_pseudo(task)}"
            text += "" if status == "ok" else f"  {record.reason}"
            failed = ", ".join(record.failed_metrics)
            text += f"  metric{'s' * (len(record.failed_metrics) > 1)} {failed} failed" if failed else ""
        self.console.print(visible(text), markup=False, emoji=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the bars."""
        if self.overall is not None:  # rich prints an empty line where nothing was begun
            self.bars.stop()


def in_notebook() -> bool:
    """Whether this process runs the cells of a Jupyter notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


def running_now(folder: Path) -> dict[str, CellProgress]:
    """By stem, what the cells of a run that is under way last reported. Reports of a killed run are ignored."""
    store, running = Store(folder), claimed(folder)
    stems = [path.stem for path in sorted((folder / "running").glob("*.json")) if is_plain_name(path.stem)]
    reports = {stem: store.progress(stem) for stem in stems if stem in running}
    return {stem: progress for stem, progress in reports.items() if progress is not None}
