"""Runs cells in places, under limits. Whatever ends a process, or a machine, costs its own cells only."""

import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from vaezoo.runner.children.client import KILL, Event
from vaezoo.runner.claims import Claims
from vaezoo.runner.engines.places import Places
from vaezoo.runner.limits import Limits
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.provenance import Provenance, now
from vaezoo.runner.records import Record, Status
from vaezoo.runner.store import Store
from vaezoo.runner.work.measure import STOPPED

POLL_SECONDS = 0.25
GRACE = 30.0
"""Seconds in which a cell that is asked to stop writes its checkpoint."""
PASSING = (
    (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT) if sys.platform != "win32" else (signal.SIGTERM,)
)
"""Signals that come from outside, not from what the cell's code did."""


@dataclass
class _Job:
    """A pack of tasks in its process.

    stamps: of the records before it began. running: whether its process has started, and started: when it did. heard:
    when it last told anything. epoch: when its epoch began, and slowest: seconds of its slowest one. stage: what it
    does. ending: the status and the reason of its cells where the run ends it. provenance: what its process told of
    itself, or None. raised: the error that ended it without a record, or "".
    """

    tasks: list[Task]
    attempt: int
    stamps: list[object]
    running: bool = False
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    epoch: float = field(default_factory=time.monotonic)
    slowest: float = 0.0
    stage: str = ""
    ending: tuple[Status, str] | None = None
    provenance: Provenance | None = None
    raised: str = ""

    def hear(self, message: dict[str, object]) -> None:
        """Note what the process told."""
        self.heard = time.monotonic()
        if isinstance(told := message.get("provenance"), dict):
            self.provenance = Provenance.from_json(told)
        if "raised" in message:
            self.raised = str(message["raised"])
        if "stage" in message:
            self.stage = str(message["stage"])
        if "epoch" in message:
            self.slowest, self.epoch = max(self.slowest, self.heard - self.epoch), self.heard

    def over(self, limits: Limits) -> tuple[Status, str] | None:
        """The status and the reason where the job has taken longer than it may."""
        if not self.running or self.ending is not None:
            return None
        now, count = time.monotonic(), len(self.tasks)
        if limits.timeout is not None and now - self.started > limits.timeout * count:
            return "timeout", f"took longer than timeout = {limits.timeout:g} s"
        if now - self.heard > limits.stall + self.slowest:
            beyond = f" beyond its slowest epoch of {self.slowest:.0f} s" if self.slowest >= 1 else ""
            return "timeout", f"stalled: no progress for {limits.stall:g} s{beyond}"
        return None


class Engine:
    """Runs packs of tasks in places, as many at a time as have room there.

    tick: called a few times a second with the tasks that are running. finished: called with each task's status. Every
    task ends with a record. A cell whose process is killed, runs out of memory or stalls is started again,
    limits.retries times (at least once where its machine was lost, never where it is the culprit of `Children`), and
    goes on from its checkpoint; of a pack that fails, each unfinished cell runs by itself.
    """

    def __init__(
        self,
        store: Store,
        places: Places,
        claims: Claims,
        limits: Limits,
        *,
        tick: Callable[[Sequence[Task]], None],
        finished: Callable[[Task, Status], None],
        fail_fast: bool = False,
    ):
        self.store, self.places, self.claims, self.limits = store, places, claims, limits
        self.tick, self.finished, self.fail_fast = tick, finished, fail_fast
        self.waiting: list[tuple[list[Task], int]] = []
        self.jobs: dict[int, _Job] = {}
        self.before: dict[str, object] = {}
        self.failed = False
        self.said: set[str] = set()

    def run(self, packs: Sequence[Sequence[Task]]) -> None:
        """Run every pack. On KeyboardInterrupt the running cells write their checkpoints and are recorded as
        interrupted; at a second one they are ended at once. Returns early after the first failure where `fail_fast`.
        """
        self.before = {task.cell.stem: self._stamp(task) for pack in packs for task in pack}
        self.waiting = [(list(pack), 0) for pack in packs][::-1]
        elsewhere: list[list[Task]] = []
        try:
            while self.waiting or self.jobs or elsewhere:
                if self.failed and self.fail_fast:
                    self._stop("the run ends at its first failure")
                    return
                while self.waiting and self.places.has_room():
                    tasks, attempt = self.waiting.pop()
                    mine, others = self._claimed(tasks)
                    if others:
                        elsewhere.append(others)
                    if mine:
                        self._start(mine, attempt)
                self.tick([task for job in self.jobs.values() for task in job.tasks])
                self._collect(POLL_SECONDS)
                if not self.waiting and not self.jobs and elsewhere:
                    self.waiting, elsewhere = [(pack, 0) for pack in elsewhere][::-1], []
                    if not any(self._is_free(task) for pack, _ in self.waiting for task in pack):
                        time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self._stop("the run was stopped")
            raise

    def _stamp(self, task: Task) -> object:
        return self.store.stamp(task.cell.kind, task.cell.stem)

    def _ended_elsewhere(self, task: Task) -> Status | None:
        """The status that another run gave a cell; None where it was stopped before the cell had ended."""
        record = self.store.record(task.cell.kind, task.cell.stem, task.cell)
        open_still = record is None or record.status == "interrupted" or bool(record.pending_metrics)
        return None if record is None or open_still else record.status

    def _is_free(self, task: Task) -> bool:
        return self.claims.take(task.cell.stem)

    def _claimed(self, tasks: Sequence[Task]) -> tuple[list[Task], list[Task]]:
        """The tasks that this run may do now, and those that another run holds. One that another run has finished
        since this run began is in neither.
        """
        mine: list[Task] = []
        others: list[Task] = []
        for task in tasks:
            stem = task.cell.stem
            if stem not in self.claims.held and not self.claims.take(stem):
                others.append(task)
            elif self._stamp(task) != self.before[stem] and (ended := self._ended_elsewhere(task)) is not None:
                self.claims.release([stem])
                self.finished(task, ended)
            else:
                mine.append(task)
        return mine, others

    def _start(self, tasks: list[Task], attempt: int) -> None:
        job = self.places.start(tasks, self.store.path("logs", tasks[0].cell.stem))
        self.jobs[job] = _Job(tasks, attempt, [self._stamp(task) for task in tasks])

    def _collect(self, seconds: float) -> None:
        """Hear the jobs for this long, end those over a limit, and settle those that have ended."""
        for event in self.places.events(seconds):
            job = self.jobs.get(event.job)
            if job is None:
                continue
            if event.restarted:
                job.running, job.stage = False, ""
            if event.pid is not None:
                job.running = True
                job.started = job.heard = job.epoch = time.monotonic()
            if event.message is not None:
                job.hear(event.message)
                self._say(event.message.get("say"))
            if event.excess is not None and job.ending is None:
                job.ending = "oom", event.excess
            if event.ended is not None:
                self._settle(event, self.jobs.pop(event.job))
        for number, job in self.jobs.items():
            if (over := job.over(self.limits)) is not None:
                job.ending = over
                self.places.kill(number, KILL)

    def _say(self, line: object) -> None:
        """Print what a cell has to say to the user, once in a run."""
        if isinstance(line, str) and line not in self.said:
            self.said.add(line)
            print(line, file=sys.stderr, flush=True)

    def _settle(self, event: Event, job: _Job) -> None:
        """Report the tasks of a job that has ended; what is unfinished is tried again, or recorded as failed."""
        left: list[Task] = []
        again: list[Task] = []
        for task, stamp in zip(job.tasks, job.stamps, strict=True):
            record = (
                self.store.record(task.cell.kind, task.cell.stem, task.cell) if self._stamp(task) != stamp else None
            )
            if record is not None and record.pending_metrics and job.stage == STOPPED:
                self._report(task, "interrupted")
            elif record is None or record.pending_metrics:
                left.append(task)
            elif record.status == "oom" and job.attempt < self.limits.retries:
                again.append(task)
            else:
                self._report(task, record.status, failed=bool(record.failed_metrics))
        for task in (*left, *again):  # a record that this run has written is not one of another run
            self.before[task.cell.stem] = self._stamp(task)
        self._remove_log(job)
        if again:
            self.waiting.append((again, job.attempt + 1))
        if not left:
            return
        status, reason, passing = _end_of(event, job)
        most = 0 if event.culprit is not None else max(self.limits.retries, event.lost is not None)
        retried = passing and job.attempt < most
        if job.stage.startswith("metric ") and not retried:
            metric = job.stage.removeprefix("metric ")
            first = replace(left[0], lost_metrics=(*left[0].lost_metrics, (metric, reason)))
            self.waiting.append(([first, *left[1:]], job.attempt))
        elif retried:
            self.waiting.append((left, job.attempt + 1))
        elif len(job.tasks) > 1:
            alone = f"run alone after its pack of {len(job.tasks)} had failed"
            self.waiting += [([replace(task, alone=alone)], job.attempt) for task in left[::-1]]
        else:
            self._fail(left[0], job, status, reason, passing, event.peak)

    def _fail(
        self, task: Task, job: _Job, status: Status, reason: str, passing: bool = True, peak: int | None = None
    ) -> None:
        """Write the record of a cell whose process has ended without one."""
        cell, log = task.cell, self.store.path("logs", task.cell.stem)
        record = replace(Record.of(cell, status, reason), may_pass=passing)
        if job.provenance is not None:
            record = replace(record, provenance=replace(job.provenance, finished=now()))
        if status == "oom" and peak is not None:
            record = replace(record, results={"peak_memory_bytes": peak})
        written = self.store.write(cell, replace(record, log=f"logs/{log.name}" if log.exists() else None))
        self._report(task, written.status)

    def _report(self, task: Task, status: Status, failed: bool = False) -> None:
        """Give the cell free, and tell its status. failed: whether one of its further metrics failed."""
        self.claims.release([task.cell.stem])
        self.failed |= failed or status not in ("ok", "skipped", "interrupted")
        self.finished(task, status)

    def _remove_log(self, job: _Job) -> None:
        """Remove the log of a job that no record names."""
        log = self.store.path("logs", job.tasks[0].cell.stem)
        records = [self.store.record(task.cell.kind, task.cell.stem, task.cell) for task in job.tasks]
        if all(record is not None and record.log is None for record in records):
            log.unlink(missing_ok=True)

    def _stop(self, reason: str) -> None:
        """Ask the running cells to stop, and end those that have not within GRACE seconds, or at a second interrupt."""
        self.waiting.clear()
        try:
            for number, job in self.jobs.items():
                job.ending = job.ending or ("interrupted", reason)  # where it writes no record
                self.places.kill(number, signal.SIGTERM)
            end = time.monotonic() + GRACE
            while self.jobs and time.monotonic() < end:
                self._collect(POLL_SECONDS)
                self.waiting.clear()
        except KeyboardInterrupt:
            pass
        for number, job in list(self.jobs.items()):
            self.places.kill(number, KILL)
            for task in job.tasks:
                if self._stamp(task) == job.stamps[job.tasks.index(task)]:
                    self._fail(task, job, "interrupted", reason)
        self.jobs.clear()


def _end_of(event: Event, job: _Job) -> tuple[Status, str, bool]:
    """The status and the reason of a job that ended without its records, and whether another attempt may pass."""
    code = event.ended or 0
    if job.ending is not None:
        status, reason = job.ending
        return status, reason, status == "oom" or reason.startswith("stalled")
    if (lost := event.lost or event.culprit) is not None:
        return "failed", lost, True
    if code >= 0:
        raised = f": {job.raised}" if job.raised else ""
        return "failed", f"exit code {code} before it wrote its record{raised}", False
    name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
    hint = ", often the system running out of memory" if code == -9 else ""
    return "failed", f"killed by {name}{hint}", -code in PASSING
