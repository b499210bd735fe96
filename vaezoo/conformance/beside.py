"""The verdict of a check as it is stored, and the proofs that run beside the cells of a run."""

import hashlib
import os
import queue
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

import vaezoo
from vaezoo.conformance.check import CONSTRUCTION, code_of, nothing_proved, proofs_of, prove
from vaezoo.conformance.subject import MODULE_SLOTS
from vaezoo.conformance.verdict import FAIL, Finding
from vaezoo.core.errors import one_line
from vaezoo.registry import Plugin, registry
from vaezoo.runner.children.client import KILL, Children, Event
from vaezoo.runner.files import DamagedFile
from vaezoo.runner.json_values import fitted
from vaezoo.runner.plan.cell import Cell, Kind, Task
from vaezoo.runner.plan.planner import Plan
from vaezoo.runner.plan.sources import Sources
from vaezoo.runner.records import Status
from vaezoo.runner.run import Watcher
from vaezoo.runner.verdicts import FOLDER, Verdict, adopt, cache_folder, is_shipped, keep, known, provable, stored

WAIT = 10.0
"""Seconds that a run waits, after its cells, for the proofs that have not ended. Those that have not then are ended."""
LONGEST = 300.0
"""Seconds without a finding after which the proofs of a plugin are given up."""
NICENESS = 10
"""The processor's priority of these proofs: a cell has about nine times their share."""


@cache
def proofs_version() -> str:
    """The sha256 of the files of the proofs."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def verdict_of(plugin: str, findings: Sequence[Finding], *, quick: bool) -> Verdict | None:
    """The verdict of a plugin's findings, as `vaezoo check` judges them. None where nothing could be proved, or the
    plugin's code is not known or changed while it was proved.
    """
    codes = {each.code for each in findings if each.code}
    failed = next((each for each in findings if each.verdict == FAIL), None)
    if len(codes) != 1 or (failed is None and nothing_proved(findings)):
        return None
    failure = None if failed is None else one_line(f'"{failed.proof}": {failed.figure}')
    date = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Verdict(plugin, codes.pop(), failure, quick, proofs_version(), date, vaezoo.__version__)


def proved_here(plugin: Plugin) -> Iterator[Finding]:
    """Carry out every proof of a plugin in this process, in quick mode. What cannot be built fails once."""
    proofs = proofs_of(plugin.slot)
    if plugin.slot in MODULE_SLOTS and (built := prove(plugin, CONSTRUCTION, quick=True)).verdict == FAIL:
        yield built
        return
    for proof in proofs:
        yield prove(plugin, proof, quick=True)


def prove_plugin(send: Any, sources: Mapping[str, Sequence[str]], plugin: str) -> None:
    """In a child: import the sources and send each finding of a plugin, and last that these are all."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    torch.set_num_threads(1)
    Sources.from_json(sources).load()
    slot, _, name = plugin.partition("/")
    found = registry(slot)[name]
    for finding in proved_here(found):
        send(finding=asdict(replace(finding, code=code_of(found))))
    send(proved=True)


class Proving:
    """A watcher that proves the plugins of some cells beside the run, one at a time, and passes on what it hears.

    Those are proved that neither this machine nor the results folder knows the verdict of, by the proofs of this
    version. The verdicts go to the user's cache and to the results folder. Timings run alone, so the proofs end before
    them. A plugin that ends its process, or whose proofs are ended, has no verdict.
    """

    def __init__(
        self, watcher: Watcher, children: Children, results: Path, plan: Plan, cells: Iterable[Cell], *, prove: bool
    ):
        self.watcher, self.children, self.results, self.plan = watcher, children, results, plan
        self.cells, self.prove = list(cells), prove
        self.waiting: dict[tuple[str, str], Sources] = {}
        self.job: int | None = None
        self.told: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.findings: list[Finding] = []
        self.plugin = ""
        self.heard = 0.0

    def __enter__(self) -> "Proving":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def begin(self, kind: Kind, total: int, kept: int) -> None:
        """Begin with the first cells, end before the timings."""
        if kind == "cells":
            with suppress(OSError):
                adopt(self.results, (cell.specification.code for cell in self.cells))
            for cell in self.cells if self.prove else ():
                for pair in provable([cell.specification.code]):
                    self.waiting.setdefault(pair, self.plan.sources.get(cell.stem, Sources()))
            self._next()
        elif total:
            self.finish()
        self.watcher.begin(kind, total, kept)

    def tick(self, running: Sequence[Task]) -> None:
        """Hear the proofs, and pass on what is running."""
        self._hear()
        self.watcher.tick(running)

    def finished(self, task: Task, status: Status) -> None:
        """Pass on that a task has a record."""
        self.watcher.finished(task, status)

    def finish(self) -> None:
        """Wait up to WAIT seconds for the proofs, then end them."""
        end = time.monotonic() + WAIT
        while self.job is not None and time.monotonic() < end:
            time.sleep(0.02)
            self._hear()
        self.stop()

    def stop(self) -> None:
        """End the proofs at once."""
        self.waiting.clear()
        if self.job is not None:
            self.children.kill(self.job, KILL)
            self.job = None

    def _hear(self) -> None:
        """Take what the proofs have told; keep the verdict at their end, and begin with the next plugin."""
        if self.job is None:
            return
        with suppress(queue.Empty):
            while True:
                event = self.told.get_nowait()
                if event.job != self.job:
                    continue
                self.heard = time.monotonic()
                if event.restarted:
                    self.findings = []
                message = event.message if isinstance(event.message, dict) else {}  # a plugin may write into the pipe
                if "finding" in message:
                    with suppress(ValueError):
                        self.findings.append(fitted(Finding, message["finding"]))
                elif "proved" in message:
                    self._keep()
                elif event.ended is not None:
                    self._next()
        if self.job is not None and time.monotonic() - self.heard > LONGEST:
            self.children.kill(self.job, KILL)

    def _keep(self) -> None:
        if (verdict := verdict_of(self.plugin, self.findings, quick=True)) is not None:
            for folder in (cache_folder(), self.results / FOLDER):
                with suppress(OSError, DamagedFile):  # the row stays "not proved"
                    keep(folder, verdict)

    def _next(self) -> None:
        """Begin the proofs of the next plugin that has no verdict."""
        self.job = None
        while self.waiting:
            pair = next(iter(self.waiting))
            sources = self.waiting.pop(pair)
            if not self._is_known(*pair):
                self.plugin, self.findings, self.heard = pair[0], [], time.monotonic()
                arguments = {"sources": vars(sources), "plugin": self.plugin}
                self.job = self.children.start(f"{__name__}:prove_plugin", arguments, hear=self.told.put)
                return

    def _is_known(self, plugin: str, fingerprint: str) -> bool:
        """Whether there is a verdict by the proofs of this version."""
        found = [known(plugin, fingerprint)]
        with suppress(DamagedFile):
            found.append(stored(self.results / FOLDER, plugin, fingerprint))
        current = any(verdict is not None and verdict.proofs == proofs_version() for verdict in found)
        return current or is_shipped(plugin, fingerprint)
