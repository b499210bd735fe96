"""A cell or a pack that is stopped goes on from its checkpoint to the same record; files that are not read."""

import json
import os
import random
import signal
import time
from dataclasses import replace

import numpy
import pytest
from interrupted import StopsAfter
from safetensors.numpy import load_file

from vaezoo.api import plan_of
from vaezoo.runner.records import Record
from vaezoo.runner.store import Store
from vaezoo.runner.work import cell as work
from vaezoo.runner.work.cell import run_cell, run_pack
from vaezoo.runner.work.resume import CheckpointFile
from vaezoo.training import pack
from vaezoo.training.checkpoint import CheckpointClock
from vaezoo.training.state import Unusable

ELSEWHERE = {"train_seconds", "own_memory_bytes"}
"""Columns that differ from run to run."""


MATRIX = {
    "datasets": ["digits-binary"],
    "seeds": 3,
    "pack": 3,
    "model": {"latent": 2, "hidden": [4]},
    "train": {"epochs": 3, "batch_size": 150, "learning_rate": 3e-2},
    "evaluate": {"importance_samples": 5, "throughput": False},
    "variants": [{"name": "vae"}],
}
LONG = {**MATRIX, "seeds": 1, "train": {**MATRIX["train"], "epochs": 40}}


@pytest.fixture(scope="module")
def plan():
    """Three seeds, 3 epochs of 7 steps."""
    return plan_of(MATRIX, device="cpu")[0]


def tasks(plan, folder, count=3):
    return [plan.task(cell, folder) for cell in plan.cells[:count]]


def outcome(folder, cell):
    """All of a finished cell but times and memory."""
    store = Store(folder)
    record = json.loads(store.path("cells", cell.stem).read_text())
    assert record["status"] == "ok", record
    record["results"] = {name: value for name, value in record["results"].items() if name not in ELSEWHERE}
    record["history"].pop("seconds")
    for name in ("seconds", "provenance", "digest"):
        record.pop(name)
    images = numpy.load(folder / "cells" / f"{cell.stem}.npz")
    weights = load_file(store.path("checkpoints", cell.stem))
    return record, {n: images[n].tobytes() for n in images.files}, {n: v.tolist() for n, v in weights.items()}


def resume_files(folder):
    return sorted(path.name for path in (folder / "resume").glob("*")) if (folder / "resume").exists() else []


def without_resumed(found):
    record, *rest = found
    return {name: value for name, value in record.items() if name != "resumed"}, *rest


def test_a_cell_that_is_stopped_goes_on_to_the_record_of_one_that_is_not(plan, tmp_path):
    [one], [other] = tasks(plan, tmp_path / "one", 1), tasks(plan, tmp_path / "other", 1)
    assert run_cell(one, "cpu") == "ok"
    for count, steps in enumerate((3, 5, 9), 1):
        assert run_cell(other, "cpu", clock=StopsAfter(steps)) == "interrupted"
        record = Store(other.folder).record("cells", other.cell.stem)
        assert record.reason == f"stopped in epoch {count}; the same command goes on from there"
        assert not record.is_final
        assert resume_files(other.folder) == [f"{other.cell.stem}.state"]
    assert run_cell(other, "cpu") == "ok"
    assert resume_files(other.folder) == []
    expected, found = outcome(one.folder, one.cell), outcome(other.folder, other.cell)
    assert "resumed" not in expected[0]
    assert found[0]["resumed"] == 3
    assert without_resumed(found) == expected


def test_a_pack_that_is_stopped_goes_on_to_the_same_records(plan, tmp_path):
    one, other = tasks(plan, tmp_path / "one"), tasks(plan, tmp_path / "other")
    assert run_pack(one, "cpu") == ["ok"] * 3
    assert run_pack(other, "cpu", StopsAfter(13)) == ["interrupted"] * 3
    for task in other:
        record = Store(task.folder).record("cells", task.cell.stem)
        assert (record.status, record.reason) == (
            "interrupted",
            "stopped in epoch 2; the same command goes on from there",
        )
    assert resume_files(tmp_path / "other") == [f"{other[0].cell.stem}.state"]
    assert run_pack(other, "cpu") == ["ok"] * 3
    assert resume_files(tmp_path / "other") == []
    for task, same in zip(one, other, strict=True):
        found = outcome(same.folder, same.cell)
        assert (found[0]["resumed"], found[0]["pack"]) == (1, [0, 1, 2])
        assert without_resumed(found) == outcome(task.folder, task.cell)


def test_a_stop_of_seeds_that_are_no_pack_loses_no_step(tmp_path, monkeypatch):
    """They train one by one, since a pack of so large parameters is slower. Another seed is left each time."""
    monkeypatch.setattr(pack, "LARGE", 10)
    plan = plan_of(MATRIX, device="cpu")[0]
    one, other = tasks(plan, tmp_path / "one"), tasks(plan, tmp_path / "other")
    assert run_pack(one, "cpu") == ["ok"] * 3
    assert run_pack(other, "cpu", StopsAfter(30)) == ["ok", "interrupted", "interrupted"]
    assert run_pack(other[1:], "cpu", StopsAfter(5)) == ["interrupted"] * 2
    assert run_pack(other[1:], "cpu") == ["ok"] * 2
    assert resume_files(tmp_path / "other") == []
    resumed = []
    for task, same in zip(one, other, strict=True):
        (record, *rest), (expected, *others) = outcome(same.folder, same.cell), outcome(task.folder, task.cell)
        assert "pack" not in record
        resumed.append(record.get("resumed"))
        assert record["warnings"][-1].startswith("trained alone, not with seeds [")
        assert record["warnings"][-1].endswith("and above 10 a pack is slower on a CPU")
        same_facts = [
            {n: v for n, v in each.items() if n not in ("resumed", "warnings")} for each in (record, expected)
        ]
        assert same_facts[0] == same_facts[1]
        assert rest == others
    assert resumed[:2] == [None, 2]


def test_the_memory_of_a_cell_is_beyond_that_of_the_process_before_its_first_cell(monkeypatch):
    found = iter([100, 250, 300])
    work._held_at_first.cache_clear()
    monkeypatch.setattr(work, "held_memory", lambda device: next(found))
    assert [work._before_loading("cpu") for _ in range(3)] == [100] * 3
    work._held_at_first.cache_clear()


CHILD = """
import signal, sys
from pathlib import Path
from vaezoo.api import plan_of
from vaezoo.runner.work.cell import run_pack
from vaezoo.training.checkpoint import CheckpointClock

clock = CheckpointClock(seconds=0.01)
signal.signal(signal.SIGTERM, lambda *_: clock.request_stop())
plan = plan_of({matrix}, device="cpu")[0]
print(run_pack([plan.task(cell, Path("there")) for cell in plan.cells], "cpu", clock)[0])
"""


def killed_again_and_again(shell, folder, matrix, signals):
    """A process that runs a cell, each time ended by one of the signals some time after its first checkpoint."""
    cell = plan_of(matrix, device="cpu")[0].cells[0]
    path = Store(folder / "there").path("resume", cell.stem)
    for number, (which, delay) in enumerate(signals):
        before = path.stat().st_mtime_ns if path.exists() else 0
        running = shell.start_python(CHILD.format(matrix=matrix), cwd=folder)
        while running.poll() is None and not (path.exists() and path.stat().st_mtime_ns > before):
            time.sleep(0.005)
        time.sleep(delay)
        assert running.poll() is None, f"it ended before signal {number}: {running.wait()}"
        running.kill_group(which)
        done = running.wait()
        assert (done.code, done.out) == ((-which, "") if which == signal.SIGKILL else (0, "interrupted\n")), done
    done = shell.start_python(CHILD.format(matrix=matrix), cwd=folder).wait()
    assert (done.code, done.out) == (0, "ok\n"), done
    assert resume_files(folder / "there") == []
    return outcome(folder / "there", cell)


def test_a_killed_process_loses_nothing_that_it_had_written(shell, tmp_path):
    signals = [(signal.SIGKILL, 0.03)]
    [task] = tasks(plan_of(LONG, device="cpu")[0], tmp_path / "here")
    assert run_cell(task, "cpu") == "ok"
    found = killed_again_and_again(shell, tmp_path, LONG, signals)
    assert found[0]["resumed"] == len(signals)
    assert without_resumed(found) == outcome(task.folder, task.cell)


@pytest.mark.nightly
def test_a_process_may_be_killed_at_any_time(shell, tmp_path):
    generator = random.Random(0)
    signals = [(generator.choice([signal.SIGKILL, signal.SIGTERM]), generator.random() * 0.1) for _ in range(20)]
    matrix = {**LONG, "train": {**LONG["train"], "epochs": 2000}}
    [task] = tasks(plan_of(matrix, device="cpu")[0], tmp_path / "here")
    assert run_cell(task, "cpu") == "ok"
    assert without_resumed(killed_again_and_again(shell, tmp_path, matrix, signals)) == outcome(task.folder, task.cell)


class Killed(BaseException):
    """The end of the process."""


def test_a_pack_killed_in_its_evaluation_trains_no_seed_again(plan, tmp_path, monkeypatch):
    """Neither the seeds that are left together, nor one that is run by itself. Their records are those of the pack."""
    one, other = tasks(plan, tmp_path / "one"), tasks(plan, tmp_path / "other")
    assert run_pack(one, "cpu") == ["ok"] * 3
    measured, calls = work.measured, []

    def second_is_killed(*given):
        calls.append(given)
        if len(calls) == 2:
            raise Killed
        return measured(*given)

    def nothing_of_a_killed_process(store, cell, record):
        if record.reason == "Killed":
            raise Killed
        return write(store, cell, record)

    write = Store.write
    with monkeypatch.context() as patch:
        patch.setattr(work, "measured", second_is_killed)
        patch.setattr(Store, "write", nothing_of_a_killed_process)
        with pytest.raises(Killed):
            run_pack(other, "cpu")
    left = [task.cell.stem for task in other[1:]]
    assert resume_files(tmp_path / "other") == sorted(f"{stem}.state" for stem in left)

    def refused(*given, **more):
        raise AssertionError("trained again")

    monkeypatch.setattr("vaezoo.training.loop._train_epochs", refused)
    alone = replace(other[1], alone="run alone after its pack of 3 had failed")
    assert run_pack([alone], "cpu") == ["ok"]
    assert run_pack([other[2]], "cpu") == ["ok"]
    assert resume_files(tmp_path / "other") == []
    for task, same in zip(one, other, strict=True):
        found = outcome(same.folder, same.cell)
        assert found[0]["pack"] == [0, 1, 2]
        assert without_resumed(found) == outcome(task.folder, task.cell)


def test_the_seeds_that_are_left_of_a_pack_are_evaluated_together(plan, tmp_path, monkeypatch):
    """A stop between two evaluations of a pack."""
    all_tasks, clock, measured = tasks(plan, tmp_path), CheckpointClock(), work.measured
    with monkeypatch.context() as patch:
        patch.setattr(work, "measured", lambda *given: (clock.request_stop(), measured(*given))[1])
        assert run_pack(all_tasks, "cpu", clock) == ["ok", "interrupted", "interrupted"]
    record = Store(tmp_path).record("cells", all_tasks[1].cell.stem)
    assert record.reason == "stopped before its evaluation; the same command goes on from there"
    monkeypatch.setattr("vaezoo.training.loop._train_epochs", None)
    assert run_pack(all_tasks[1:], "cpu") == ["ok", "ok"]
    assert resume_files(tmp_path) == []


def test_a_failed_cell_leaves_no_checkpoint(plan, tmp_path, monkeypatch):
    [task] = tasks(plan, tmp_path, 1)
    assert run_cell(task, "cpu", clock=StopsAfter(3)) == "interrupted"
    folder = tmp_path / "resume"
    (folder / f".{task.cell.stem}.state.abc").write_text("what a killed process left")
    monkeypatch.setattr(work, "measured", lambda *given: 1 / 0)
    assert run_cell(task, "cpu") == "failed"
    assert resume_files(tmp_path) == []


def test_a_checkpoint_that_is_damaged_is_said_in_the_record(plan, tmp_path):
    [one], [other] = tasks(plan, tmp_path / "one", 1), tasks(plan, tmp_path / "other", 1)
    assert run_cell(one, "cpu") == "ok"
    assert run_cell(other, "cpu", clock=StopsAfter(9)) == "interrupted"
    path = Store(other.folder).path("resume", other.cell.stem)
    path.write_bytes(path.read_bytes()[:-1])
    assert run_cell(other, "cpu") == "ok"
    found, expected = outcome(other.folder, other.cell), outcome(one.folder, one.cell)
    warned = "a checkpoint is not used, and training begins anew: it is damaged"
    assert found[0].pop("warnings") == [*expected[0].pop("warnings"), warned]
    assert found == expected


def test_the_number_of_resumptions_survives_in_a_record(plan):
    value = Record.of(plan.cells[0], "failed", "why").to_json()
    assert "resumed" not in value
    assert Record.from_json({**value, "resumed": 2}).resumed == 2


# Files


def made(path, what):
    path.parent.mkdir(parents=True, exist_ok=True)
    if what == "link":
        (path.parent / "other").write_bytes(b"secret")
        path.symlink_to(path.parent / "other")
    if what == "link to a device":
        path.symlink_to("/dev/zero")
    if what == "dangling link":
        path.symlink_to(path.parent / "nowhere")
    if what == "pipe":
        os.mkfifo(path)
    if what == "folder":
        path.mkdir()
    if what == "large":
        with path.open("wb") as file:
            file.truncate(10**12)
    if what == "folder that is a link":
        outside = path.parents[1] / "outside"
        outside.mkdir()
        (outside / path.name).write_bytes(b"secret")
        path.parent.rmdir()
        path.parent.symlink_to(outside)


NOT_READ = {
    "link": "it is a link",
    "link to a device": "it is a link",
    "dangling link": "it is a link",
    "pipe": "it is no regular file",
    "folder": "it is no regular file|it cannot be read",
    "large": "it has 1000000000000 bytes, and 1000 at most are read",
    "folder that is a link": "it is a link, or in a folder that is a link",
}


@pytest.mark.parametrize("what", NOT_READ)
def test_only_a_regular_file_of_a_sensible_size_is_read(what, tmp_path):
    path = tmp_path / "resume" / "a.state"
    made(path, what)
    with pytest.raises(Unusable, match=f"^({NOT_READ[what]})"):
        CheckpointFile(path).read(1000)


def test_what_is_written_is_read_and_nothing_is_no_file(tmp_path):
    file = CheckpointFile(tmp_path / "resume" / "a.state")
    assert file.read(1000) is None
    file.write(b"state")
    assert file.read(1000) == b"state"
    assert file.read(5) == b"state"


def test_nothing_is_written_through_a_link(tmp_path):
    path = tmp_path / "resume" / "a.state"
    made(path, "link")
    CheckpointFile(path).write(b"state")
    assert (path.is_symlink(), path.read_bytes()) == (False, b"state")
    assert (path.parent / "other").read_bytes() == b"secret"
    outside = tmp_path / "more" / "resume" / "a.state"
    made(outside, "folder that is a link")
    with pytest.raises(OSError, match="is a link"):
        CheckpointFile(outside).write(b"state")
    assert outside.read_bytes() == b"secret"


@pytest.mark.filterwarnings("ignore:no checkpoint was written")
@pytest.mark.parametrize("what", ["folder", "pipe", "link to a device"])
def test_a_cell_ends_well_with_such_a_thing_in_the_place_of_its_checkpoint(plan, tmp_path, what):
    [task] = tasks(plan, tmp_path, 1)
    made(Store(tmp_path).path("resume", task.cell.stem), what)
    assert run_cell(task, "cpu", clock=CheckpointClock(seconds=0)) == "ok"
    [warned] = Store(tmp_path).record("cells", task.cell.stem).warnings
    assert warned.startswith("a checkpoint is not used, and training begins anew: it ")
