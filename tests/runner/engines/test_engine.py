"""Runs that are stopped, killed, or refused, and what the next one finds: nothing finished is lost or run again."""

import json
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_tasks import a_task

from vaezoo.runner.engines.local import _end_of_worker, _write_failure
from vaezoo.runner.records import Record
from vaezoo.runner.run import Terminated, sigterm_as_interrupt
from vaezoo.runner.store import Store

PLUGIN = '''
import multiprocessing, os, time
from pathlib import Path

import torch, vaezoo
from vaezoo.objectives.elbo import ELBO

HERE = Path(__file__).parent
if multiprocessing.parent_process() is not None:
    with (HERE / "workers").open("a") as file:
        file.write(f"{os.getpid()}\\n")


@vaezoo.register.dataset("tiny")
def tiny(root, seed):
    """Coins."""
    x = (torch.rand(60, 4, generator=torch.Generator().manual_seed(0)) > 0.5).to(torch.uint8)
    return vaezoo.Dataset(x[:40], x[40:50], x[50:], measure="binary")


@vaezoo.register.objective("slow")
class Slow(ELBO):
    """Takes its time in a worker's second epoch, while there is a file `slow`."""

    def __init__(self, *, slow: bool = True):
        super().__init__()
        self.slow, self.steps = slow, 0

    def forward(self, draws):
        self.steps += 1
        if self.slow and self.steps > 4 and multiprocessing.parent_process() is not None:
            while (HERE / "slow").exists():
                time.sleep(0.05)
        return super().forward(draws)
'''


def until(true, what: str, patience: float = 120.0) -> None:
    """Waits for something to come true; the test fails where it does not."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"waited {patience:g} s in vain for {what}")
        time.sleep(0.05)


class Stopped:
    """A matrix of a quick, a slow and another quick cell: stopped by Ctrl-C, by SIGTERM, killed, and run to its end."""

    WORDS = ("run", "slow.toml", "--jobs", 1, "--device", "cpu")

    def __init__(self, shell, folder: Path):
        self.shell, self.folder, self.results = shell, folder, folder / "results" / "slow"
        (folder / "slow").touch()
        running = self.start()
        self.during = shell("status", self.results)
        self.second = shell(*self.WORDS, cwd=folder)
        running.kill_group(signal.SIGINT)  # as a terminal's Ctrl-C: to the workers, too
        self.interrupted = running.wait()
        self.after_interrupt, self.first_times = self.read(), self.times()
        self.status = shell("status", self.results)

        running = self.start()
        os.kill(running.pid, signal.SIGTERM)  # alone: the workers are ended by the run
        self.terminated, self.after_sigterm = running.wait(), self.read()

        running = self.start()
        self.worker = int((folder / "workers").read_text().split()[-1])
        os.kill(running.pid, signal.SIGKILL)  # alone: the worker has to notice
        self.killed = running.wait()
        until(lambda: not alive(self.worker), "the worker to end after its run was killed", 30)
        self.after_kill = self.read()
        self.left_running = len(list(self.results.glob("running/*.json")))
        self.status_after_kill = shell("status", self.results)

        (folder / "slow").unlink()
        self.last = shell(*self.WORDS, cwd=folder)
        self.final, self.last_times = self.read(), self.times()

    def start(self):
        """Runs until the slow cell has said that it is in its second epoch."""
        running = self.shell.start(*self.WORDS, cwd=self.folder)

        def in_slow_cell() -> bool:
            finished = {path.name for path in self.results.glob("cells/*.json") if '"ok"' in path.read_text()}
            return bool({path.name for path in self.results.glob("running/*.json")} - finished) and bool(finished)

        until(lambda: in_slow_cell() or running.poll() is not None, "the slow cell to begin")
        assert running.poll() is None, running.wait()
        return running

    def read(self) -> dict[str, dict]:
        found = [json.loads(path.read_text()) for path in self.results.glob("cells/*.json")]
        return {record["label"]: record for record in found}

    def times(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in self.results.glob("cells/*")}


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def stopped(shell, tmp_path_factory, matrix_file):
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "slow.py").write_text(PLUGIN)
    rows = [
        {"name": "vae", "label": "quick", "objective": {"name": "slow", "slow": False}},
        {"name": "vae", "label": "slow", "objective": "slow"},
        {"name": "vae", "label": "last", "objective": {"name": "slow", "slow": False}, "model": {"latent": 3}},
    ]
    train = {"epochs": 2, "batch_size": 10}
    matrix_file(folder / "slow.toml", rows, plugins=["slow.py"], datasets=["tiny"], train=train)
    return Stopped(shell, folder)


def test_status_during_a_run(stopped):
    assert (stopped.during.code, stopped.during.err) == (0, "")
    first, second = stopped.during.out.splitlines()
    assert first == "slow: 2 missing, 1 ok"
    assert re.fullmatch(r"running: vae--tiny--s0--[0-9a-f]{12}: epoch 1/2, objective -\d+\.\d\d", second)


def test_a_second_run_on_the_same_folder_is_refused(stopped):
    assert (stopped.second.code, stopped.second.out) == (2, "")
    assert stopped.second.err == (
        "error: another run is writing to results/slow; wait for it, or give another folder with --out\n"
    )


def test_an_interrupt_keeps_what_was_finished(stopped):
    done = stopped.interrupted
    assert done.code == 130
    assert done.err == "stopped; what was finished is kept. Go on with: vaezoo run slow.toml --jobs 1 --device cpu\n"
    assert "Traceback" not in done.out
    found = stopped.after_interrupt
    assert {label: record["status"] for label, record in found.items()} == {"quick": "ok", "slow": "interrupted"}
    assert found["slow"]["reason"] == "the run was stopped"
    assert (stopped.results / "tables" / "tiny.md").is_file()
    assert stopped.status.out.splitlines()[0] == "slow: 1 ok, 1 interrupted, 1 missing"
    assert "running: " not in stopped.status.out


def test_sigterm_is_as_ctrl_c(stopped):
    assert (stopped.terminated.code, stopped.terminated.err) == (143, stopped.interrupted.err)
    assert "Traceback" not in stopped.terminated.out
    found = stopped.after_sigterm
    assert {label: record["status"] for label, record in found.items()} == {"quick": "ok", "slow": "interrupted"}
    assert found["slow"]["reason"] == "the run was stopped"
    assert found["slow"]["key"] == stopped.final["slow"]["key"]


def test_sigterm_is_left_to_a_program_that_handles_it():
    with pytest.raises(Terminated), sigterm_as_interrupt():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with sigterm_as_interrupt():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (7, "failed", "the worker died: exit code 7"),
        (-9, "failed", "the worker died: killed by signal 9, often the system running out of memory"),
        (-11, "failed", "the worker died: killed by signal 11"),
        (-15, "interrupted", "the worker was stopped by signal 15"),
    ],
)
def test_how_a_worker_ended_is_the_status_of_its_cell(code, status, reason):
    """A batch queue sends SIGTERM to the run and to its workers; which ends first is not certain."""
    assert _end_of_worker(code) == (status, reason)


def test_after_a_kill_the_worker_ends_by_itself(stopped):
    assert stopped.killed.code == -signal.SIGKILL
    assert not alive(stopped.worker)
    assert stopped.after_kill["quick"] == stopped.after_interrupt["quick"]


def test_status_after_a_kill_shows_nothing_as_running(stopped):
    assert stopped.left_running == 1
    assert stopped.status_after_kill.code == 0
    assert "running: " not in stopped.status_after_kill.out


def test_the_same_command_goes_on(stopped):
    assert (stopped.last.code, stopped.last.err) == (0, "")
    assert stopped.last.out.splitlines()[0] == "cells: 2 to run, 1 already done"
    assert {label: record["status"] for label, record in stopped.final.items()} == dict.fromkeys(
        ("quick", "slow", "last"), "ok"
    )
    assert stopped.final["quick"] == stopped.after_interrupt["quick"]
    quick = f"--s0--{stopped.final['quick']['key'][:12]}"
    kept = {name: value for name, value in stopped.first_times.items() if quick in name}
    assert len(kept) == 2  # the record and its values of each image
    assert kept.items() <= stopped.last_times.items()
    assert not (stopped.results / "running").exists()


def test_what_was_stopped_and_run_again_is_what_it_would_have_been(stopped):
    """The slow cell differs from the quick one in its time alone."""
    quick, slow = stopped.final["quick"]["results"], stopped.final["slow"]["results"]
    assert {name: quick[name] for name in ("iwll", "elbo", "kl")} == {n: slow[n] for n in ("iwll", "elbo", "kl")}


DYING = """
import os, pathlib, sys
marks = pathlib.Path(os.environ.get("MARKS", "/nowhere"))
if "--multiprocessing-fork" in sys.orig_argv and marks.is_dir():
    left = sorted(marks.iterdir())
    if left:
        left[0].unlink()
        os._exit(9)
"""


@pytest.mark.parametrize(("deaths", "code"), [(1, 0), (3, 1)])
def test_a_worker_that_ends_before_it_takes_a_cell_is_replaced(shell, tmp_path, matrix_file, deaths, code):
    """As where the system runs out of memory while a worker starts; three times in a row is a failure of the cell."""
    (tmp_path / "slow.py").write_text(PLUGIN)
    (tmp_path / "sitecustomize.py").write_text(DYING)
    marks = tmp_path / "marks"
    marks.mkdir()
    for number in range(deaths):
        (marks / str(number)).touch()
    matrix_file(tmp_path / "m.toml", ["vae"], plugins=["slow.py"], datasets=["tiny"])
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    env = {"PYTHONPATH": path, "MARKS": str(marks)}
    done = shell("run", "m.toml", "--jobs", 1, "--device", "cpu", cwd=tmp_path, env=env)
    assert (done.code, list(marks.iterdir())) == (code, [])
    assert "Traceback" not in done.out + done.err
    assert ("1 ok" in done.out.splitlines()) == (code == 0)
    assert ("failed: vae on tiny, seed 0: its workers ended before they took it" in done.out) == (code == 1)


def test_a_record_that_was_finished_before_its_worker_ended_stands(tmp_path):
    """A worker may be stopped after it wrote the record and before it reported the status."""
    store, task = Store(tmp_path), a_task(tmp_path)
    for status in ("ok", "diverged"):
        record = store.write(task.cell, replace(Record.of(task.cell, status), results={"iwll": -1.0}))
        assert _write_failure(store, task, "interrupted", "the run was stopped") == record.status == status
        assert store.record("cells", task.cell.stem) == record
    store.write(task.cell, Record.of(task.cell, "failed", "of old"))
    assert _write_failure(store, task, "interrupted", "the run was stopped") == "interrupted"
    assert store.record("cells", task.cell.stem) == Record.of(task.cell, "interrupted", "the run was stopped")
