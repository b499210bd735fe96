"""How a run looks while it runs: bars on a terminal, a line a cell elsewhere."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn
from rich.progress import Task as Bar

from vaezoo.runner.store import Store

Task = Any
NOUNS = {"cells": "cells", "timings": "timings"}


def title(task: Task) -> str:
    """`vae on digits, seed 0`."""
    what = "timing" if task["seed"] is None else f"seed {task['seed']}"
    return f"{task['label']} on {task['dataset']}, {what}"


def _pseudo(task: Task) -> str:
    """What stands behind a likelihood that is none of these images."""
    return " (pseudo-likelihood)" if task["comparability"]["pseudo_likelihood"] else ""


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _TimeLeft(ProgressColumn):
    """Our own estimate, once there is one: cells differ in length, so rich's own rate would not do."""

    def render(self, task: Bar) -> Any:
        """Time left, as m:ss."""
        left = task.fields.get("left")
        return "" if left is None else f"{_span(left)} left"


class Live:
    """A watcher that shows the cells done, each running cell's epoch, objective and validation iwll, and the time left.

    On a terminal as live bars; elsewhere (a log, CI) one line for each finished cell.
    """

    def __init__(self, console: Console):
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            _TimeLeft(),
            console=console,
            transient=True,
        )
        self.cells: dict[str, TaskID] = {}
        self.total = self.done = 0
        self.started = time.monotonic()
        self.overall: TaskID | None = None

    def begin(self, phase: str, total: int, kept: int) -> None:
        """A phase begins: so many to run, so many whose records stand."""
        self.total, self.done, self.started = total, 0, time.monotonic()
        note = f", {kept} already done" if kept else ""
        self.console.print(f"{phase}: {total} to run{note}", highlight=False)
        if not self.console.is_terminal or not total:
            return
        if self.overall is not None:
            self.bars.remove_task(self.overall)
        self.overall = self.bars.add_task(f"[bold]{phase}", total=total, text=f"0/{total}", left=None)
        self.bars.start()

    def tick(self, running: Sequence[Task]) -> None:
        """Read what the running cells last said of themselves, and draw it."""
        if self.overall is None:
            return
        stems = {task["stem"] for task in running}
        for stem in set(self.cells) - stems:
            self.bars.remove_task(self.cells.pop(stem))
        part = 0.0
        for task in running:
            said = Store(task["folder"]).record("running", task["stem"]) or {}
            epoch, epochs = said.get("epoch", 0), said.get("epochs")
            share = epoch / epochs if epochs else 0.0
            part += share
            text = "starting" if not epochs else f"epoch {epoch}/{epochs}"
            for name, short in (("objective", "objective"), ("validation_iwll", "validation iwll")):
                text += f"  {short} {said[name]:.2f}" if isinstance(said.get(name), float) else ""
            text += _pseudo(task) if "validation iwll" in text else ""
            if task["stem"] not in self.cells:
                self.cells[task["stem"]] = self.bars.add_task(f"  {title(task)}", total=1, text=text, left=None)
            left = said["seconds"] * (1 / share - 1) if share else None
            self.bars.update(self.cells[task["stem"]], completed=share, text=text, left=left)
        work = self.done + part
        left = (time.monotonic() - self.started) / work * (self.total - work) if work > 0.2 else None
        self.bars.update(self.overall, completed=work, text=f"{self.done}/{self.total}", left=left)

    def finished(self, task: Task, status: str) -> None:
        """One line for the cell: its status, its time, its iwll or why it failed."""
        self.done += 1
        kind = "timings" if task["seed"] is None else "cells"
        record = Store(task["folder"]).record(kind, task["stem"]) or {}
        results = record.get("results", {})
        text = f"[{self.done}/{self.total}] {status:8s} {title(task)}"
        if record.get("seconds") is not None:
            text += f"  {record['seconds']:.1f} s"
        if "iwll" in results:
            text += f"  iwll {results['iwll']:.2f}{_pseudo(task)}"
        if status != "ok":
            text += f"  {record.get('reason')}"
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bars away."""
        if self.overall is not None:  # rich ends what was never begun with an empty line
            self.bars.stop()


def running_now(folder: Path) -> list[dict[str, Any]]:
    """What the cells of a run that is under way last said of themselves; a killed run's last words do not count."""
    store, found = Store(folder), []
    for path in sorted((folder / "running").glob("*.json")):
        said = store.record("running", path.stem)
        if said is not None:
            found.append({"stem": path.stem, **said})
    return found if found and store.is_held() else []
