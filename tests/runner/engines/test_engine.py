"""Runs that are stopped or killed, and what the next one finds: nothing finished is lost or run again, and a cell that
was under way goes on from its checkpoint.
"""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from vaezoo.runner.run import Terminated, signals_as_interrupt

PLUGIN = '''
import os, time
from pathlib import Path

import torch, vaezoo
from vaezoo.objectives.elbo import ELBO

HERE = Path(__file__).parent


@vaezoo.register.dataset("tiny")
def tiny(root, seed):
    """Coins."""
    x = (torch.rand(60, 4, generator=torch.Generator().manual_seed(0)) > 0.5).to(torch.uint8)
    return vaezoo.Dataset(x[:40], x[40:50], x[50:], measure="binary")


@vaezoo.register.objective("slow")
class Slow(ELBO):
    """Takes its time after the second epoch, while there is a file `slow`."""

    def __init__(self, *, slow: bool = True):
        super().__init__()
        self.slow = slow
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def update(self, draws):
        self.steps += 1

    def forward(self, draws):
        if self.slow and int(self.steps) > 8 and (HERE / "slow").exists():
            (HERE / "worker").write_text(str(os.getpid()))
            time.sleep(0.1)
        return super().forward(draws)
'''


def until(true, what: str, patience: float = 120.0) -> None:
    """Waits for something to come true; the test fails where it does not."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"waited {patience:g} s in vain for {what}")
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Stopped:
    """A matrix of a quick, a slow and another quick cell: stopped by Ctrl-C, by SIGTERM and SIGHUP, killed, and run to
    its end; and the same matrix undisturbed.
    """

    WORDS = ("run", "slow.toml", "--jobs", 1, "--device", "cpu")

    def __init__(self, shell, folder: Path):
        self.shell, self.folder, self.results = shell, folder, folder / "results" / "slow"
        (folder / "slow").touch()
        running = self.start()
        self.during = shell("status", self.results)
        running.kill_group(signal.SIGINT)  # as a terminal's Ctrl-C
        self.interrupted = running.wait()
        self.after_interrupt, self.first_times = self.read(), self.times()
        self.status = shell("status", self.results)

        self.ended = {}
        for number in (signal.SIGTERM, signal.SIGHUP):
            running = self.start()
            os.kill(running.pid, number)
            self.ended[number] = running.wait(), self.read()["slow"]

        running = self.start()
        self.worker = int((folder / "worker").read_text())
        os.kill(running.pid, signal.SIGKILL)  # alone: its children have to end
        self.killed = running.wait()
        until(lambda: not alive(self.worker), "the worker to end after its run was killed", 30)
        self.after_kill = self.read()
        self.left_running = len(list(self.results.glob("running/*.json")))
        self.status_after_kill = shell("status", self.results)

        (folder / "slow").unlink()
        self.last = shell(*self.WORDS, cwd=folder)
        self.final, self.last_times = self.read(), self.times()
        self.undisturbed = shell(*self.WORDS, "--out", "there", cwd=folder)
        self.expected = self.read(folder / "there")

    def start(self):
        """Runs until the slow cell is in its third epoch."""
        (self.folder / "worker").unlink(missing_ok=True)
        running = self.shell.start(*self.WORDS, cwd=self.folder)
        there = (self.folder / "worker").exists
        until(lambda: there() or running.poll() is not None, "the slow cell to begin")
        assert running.poll() is None, running.wait()
        return running

    def read(self, folder: Path | None = None) -> dict[str, dict]:
        found = [json.loads(path.read_text()) for path in (folder or self.results).glob("cells/*.json")]
        return {record["label"]: record for record in found}

    def times(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in self.results.glob("cells/*")}


@pytest.fixture(scope="module")
def stopped(shell, tmp_path_factory, matrix_file):
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "slow.py").write_text(PLUGIN)
    rows = [
        {"name": "vae", "label": "quick", "objective": {"name": "slow", "slow": False}},
        {"name": "vae", "label": "slow", "objective": "slow"},
        {"name": "vae", "label": "last", "objective": {"name": "slow", "slow": False}, "model": {"latent": 3}},
    ]
    train = {"epochs": 50, "batch_size": 10}
    matrix_file(folder / "slow.toml", rows, plugins=["slow.py"], datasets=["tiny"], train=train)
    return Stopped(shell, folder)


AGAIN = "stopped; what was finished is kept. Go on with: vaezoo run slow.toml --jobs 1 --device cpu\n"


@pytest.mark.slow
def test_status_during_a_run(stopped):
    assert (stopped.during.code, stopped.during.err) == (0, "")
    first, second = stopped.during.out.splitlines()
    assert first == "slow: 2 missing, 1 ok"
    assert re.fullmatch(r"running: vae--tiny--s0--[0-9a-f]{12}: epoch [12]/50, objective -\d+\.\d\d", second)


def test_an_interrupt_keeps_what_was_finished(stopped):
    done = stopped.interrupted
    assert (done.code, done.err) == (130, AGAIN)
    assert "Traceback" not in done.out
    found = stopped.after_interrupt
    assert {label: record["status"] for label, record in found.items()} == {"quick": "ok", "slow": "interrupted"}
    assert re.fullmatch(r"stopped in epoch \d+; the same command goes on from there", found["slow"]["reason"])
    assert (stopped.results / "tables" / "tiny.md").is_file()
    assert stopped.status.out.splitlines()[0] == "slow: 1 ok, 1 interrupted, 1 missing"
    assert "running: " not in stopped.status.out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_are_as_ctrl_c(stopped, number):
    done, slow = stopped.ended[number]
    assert (done.code, done.err) == (128 + number, AGAIN)
    assert "Traceback" not in done.out
    assert slow["status"] == "interrupted"
    assert slow["reason"].endswith("the same command goes on from there")
    assert slow["key"] == stopped.final["slow"]["key"]


def test_a_signal_ends_a_run_that_is_planning_too(shell, matrix_file, tmp_path):
    (tmp_path / "slow.py").write_text("import time\nopen('planning', 'w').close()\ntime.sleep(1000)\n")
    matrix_file(tmp_path / "m.toml", ["vae"], plugins=["slow.py"])
    running = shell.start("run", "m.toml", "--device", "cpu", cwd=tmp_path)
    until((tmp_path / "planning").exists, "the plugin to be imported", 60)
    os.kill(running.pid, signal.SIGHUP)
    done = running.wait()
    assert (done.code, done.out) == (128 + signal.SIGHUP, "")
    assert done.err == "stopped; what was finished is kept. Go on with: vaezoo run m.toml --device cpu\n"


def test_a_signal_is_left_to_a_program_that_handles_it():
    for number in (signal.SIGTERM, signal.SIGHUP):
        before = signal.signal(number, signal.SIG_DFL)  # nohup ignores SIGHUP
        try:
            with pytest.raises(Terminated) as raised, signals_as_interrupt():
                signal.raise_signal(number)
            assert raised.value.number == number
            assert signal.getsignal(number) is signal.SIG_DFL
        finally:
            signal.signal(number, before)
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with signals_as_interrupt():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert heard == [signal.SIGTERM]


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
    assert stopped.final["slow"]["resumed"] >= 3
    for name in ("running", "resume", "claims"):
        assert not list((stopped.results / name).glob("*"))


def test_what_was_stopped_is_what_it_would_have_been(stopped):
    """Times and memory apart."""
    assert stopped.undisturbed.code == 0
    for label, expected in stopped.expected.items():
        found = stopped.final[label]
        for record in (found, expected):
            for name in ("train_seconds", "own_memory_bytes"):
                record["results"].pop(name, None)
            record["history"].pop("seconds", None)
        for name in ("results", "history", "best_epoch", "vectors", "key"):
            assert found[name] == expected[name], (label, name)
        weights = {name: digest for name, digest in found["files"].items() if "checkpoints" in name}
        assert weights.items() <= expected["files"].items()
