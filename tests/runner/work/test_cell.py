"""The record of a cell, also of one that fails, crashes or hangs; other cells are unaffected."""

import json
import re
from datetime import datetime
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file

import vaezoo

KEPT = {"label", "variant", "dataset", "seed", "key", "specification", "comparability", "status", "reason"}

PLUGIN = '''
import multiprocessing, os, signal, sys, time
from pathlib import Path

import torch, vaezoo
from vaezoo.objectives.elbo import ELBO

HERE = Path(__file__).parent


@vaezoo.register.dataset("tiny")
def tiny(root, seed):
    """Coins."""
    x = (torch.rand(60, 4, generator=torch.Generator().manual_seed(0)) > 0.5).to(torch.uint8)
    return vaezoo.Dataset(x[:40], x[40:50], x[50:], measure="binary")


@vaezoo.register.objective("odd")
class Odd(ELBO):
    """Misbehaves in a worker's third step, until there is a file `mended`."""

    def __init__(self, *, way: str = "well"):
        super().__init__()
        self.way, self.steps = way, 0
        if way == "skip":
            raise vaezoo.Skip("not with these images")
        if way == "build" and not (HERE / "mended").exists():
            raise KeyError("why")

    def forward(self, draws):
        value = super().forward(draws)
        self.steps += 1
        if self.steps < 3 or multiprocessing.parent_process() is None or (HERE / "mended").exists():
            return value
        print("so far so good", flush=True)
        if self.way == "raise":
            raise RuntimeError("broken on purpose\\nin two lines")
        if self.way == "leave":
            sys.exit(3)
        if self.way == "drop":
            os._exit(7)
        if self.way == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.way == "sleep":
            time.sleep(600)
        if self.way == "memory":
            raise MemoryError("no more")
        return value * float("nan") if self.way == "diverge" else value
'''
WAYS = ("raise", "build", "diverge", "drop", "well", "kill", "skip", "leave", "memory", "sleep")
FAILED = {
    "sleep": ("timeout", r"took longer than timeout = 8 s"),
    "raise": ("failed", r"RuntimeError: broken on purpose"),
    "build": ("failed", r"KeyError: 'why'"),
    "diverge": ("diverged", r"the objective is nan at step 3 \(epoch 1\)"),
    "drop": ("failed", r"exit code 7 before it wrote its record"),
    "kill": ("failed", r"killed by SIGKILL, often the system running out of memory"),
    "leave": ("failed", r"SystemExit: 3"),
    "memory": ("oom", r"MemoryError: no more"),
}


class Odd:
    """A matrix of cells that misbehave, run once, mended, and run again by the same command."""

    def __init__(self, shell, folder: Path):
        self.shell, self.folder, self.results = shell, folder, folder / "results" / "odd"
        self.planned = shell("plan", "odd.toml", "--device", "cpu", cwd=folder)
        self.first = self.run()
        self.records = self.read()
        self.status = shell("status", self.results)
        self.logs = {path.name: path.read_text() for path in self.results.glob("logs/*.log")}
        (folder / "mended").touch()
        self.replanned = shell("plan", "odd.toml", "--device", "cpu", cwd=folder)
        self.second = self.run("--retry-failed")
        self.mended = self.read()

    def run(self, *more):
        return self.shell("run", "odd.toml", "--jobs", 1, "--device", "cpu", *more, cwd=self.folder)

    def read(self) -> dict[str, dict]:
        records = [json.loads(path.read_text()) for path in self.results.glob("cells/*.json")]
        return {record["label"]: record for record in records}


@pytest.fixture(scope="module")
def odd(shell, tmp_path_factory, matrix_file):
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.py").write_text(PLUGIN)
    rows = [{"name": "vae", "label": way, "objective": {"name": "odd", "way": way}} for way in WAYS]
    train = {"epochs": 2, "batch_size": 10}
    matrix_file(folder / "odd.toml", rows, plugins=["odd.py"], datasets=["tiny"], train=train, timeout=8)
    return Odd(shell, folder)


@pytest.mark.slow
def test_a_cell_that_misbehaves_is_a_record_with_its_reason(odd):
    assert {label: record["status"] for label, record in odd.records.items()} == {
        "well": "ok",
        **{way: status for way, (status, _) in FAILED.items()},
    }
    for way, (_, reason) in FAILED.items():
        assert re.fullmatch(reason, odd.records[way]["reason"]), way
        assert set(odd.records[way]) >= KEPT
        assert odd.records[way]["results"] == {}
        assert len(odd.records[way]["key"]) == 64
        made = odd.records[way]["provenance"]  # also where the process died, and the run wrote the record
        assert made["vaezoo"] == vaezoo.__version__, way
        assert made["host"]
        assert made["device"]
        assert datetime.fromisoformat(made["started"]) <= datetime.fromisoformat(made["finished"])


def test_a_failure_keeps_its_log(odd):
    for way in FAILED:
        log = odd.logs[Path(odd.records[way]["log"]).name]
        assert ("so far so good" in log) == (way != "build")
        assert ("Traceback" in log) == (way in ("raise", "build", "diverge", "leave", "memory"))
    assert 'raise RuntimeError("broken on purpose' in odd.logs[Path(odd.records["raise"]["log"]).name]
    assert len(odd.logs) == len(FAILED)


def test_the_run_ends_with_the_failures_and_the_command_that_retries(odd):
    done = odd.first
    assert done.code == 1
    assert "Traceback" not in done.out + done.err
    lines = done.out.splitlines()
    assert "1 diverged, 5 failed, 1 ok, 1 oom, 1 skipped, 1 timeout" in lines
    for way, (status, reason) in FAILED.items():
        shown = rf"{status}: {way} on tiny, seed 0: {reason}; log: results/odd/logs/.*\.log"
        assert [line for line in lines if re.fullmatch(shown, line)], way
    command = "vaezoo run odd.toml --jobs 1 --device cpu"
    assert lines[-2:] == [
        f"2 of these may pass when run again: {command}",
        f"6 fail again unless something changes; then: {command} --retry-failed",
    ]


def test_what_cannot_be_is_skipped_with_its_reason_and_is_no_failure(odd):
    assert "skip" not in odd.records
    reason = "objective 'odd': not with these images"
    assert f"skip on tiny, seed 0: {reason}" not in odd.first.out.split("tables: ")[-1]
    assert "skip on tiny: 1 skipped" in odd.planned.out.splitlines()
    assert f"skipped: skip on tiny: {reason}" in odd.planned.out.splitlines()


def test_the_plan_says_what_a_rehearsal_raised_and_the_run_records_it(odd):
    assert (odd.planned.code, odd.planned.err) == (0, "")
    line = "row 'build' on tiny: expected to fail: KeyError: 'why'"
    assert [each for each in odd.planned.out.splitlines() if "expected" in each] == [line]
    assert "build on tiny: 1 to run" in odd.planned.out.splitlines()


def test_status_tells_each_failure_with_its_log(odd):
    assert odd.status.code == 0
    lines = odd.status.out.splitlines()
    assert lines[0].startswith("odd: ")
    for text in ("5 failed", "1 ok", "1 timeout", "1 diverged", "1 oom", "1 skipped"):
        assert text in lines[0]
    for way, (status, reason) in FAILED.items():
        shown = rf"{status}: {way} on tiny, seed 0: {reason}; log: .*/logs/.*\.log"
        assert [line for line in lines if re.fullmatch(shown, line)], way


def test_what_a_run_would_do_with_each_failure_is_planned(odd):
    """What was killed or ran out of memory may pass; what its own code raised would be raised again."""
    lines = odd.replanned.out.splitlines()
    for way in ("kill", "memory"):
        assert f"{way} on tiny: 1 to run" in lines
    for way in ("raise", "build", "drop", "leave", "sleep"):
        assert f"{way} on tiny: 1 failed" in lines
        assert [line for line in lines if re.fullmatch(f"failed: {way} on tiny, seed 0: {FAILED[way][1]}", line)], way
    assert "diverge on tiny: 1 done" in lines


def test_failures_are_tried_again_on_request(odd):
    """What has diverged would diverge again: it stands, and so do `ok` cells."""
    assert odd.second.out.splitlines()[0] == "cells: 7 to run, 2 already done"
    assert odd.second.code == 1
    assert {way: record["status"] for way, record in odd.mended.items()} == {
        **dict.fromkeys(odd.records, "ok"),
        "diverge": "diverged",
    }
    for way in ("well", "diverge"):
        assert odd.mended[way] == odd.records[way]
    left = [path.name for path in (odd.results / "logs").iterdir()]
    assert left == [Path(odd.records["diverge"]["log"]).name]
    values = {record["results"]["iwll"] for way, record in odd.mended.items() if way != "diverge"}
    assert len(values) == 1  # how a cell's worker came to its end changes no other cell


def test_the_tables_count_what_failed(odd):
    table = (odd.results / "tables" / "tiny.md").read_text()
    for way in WAYS:
        assert re.search(rf"^\| \**{way}\b", table, re.MULTILINE), way
    assert "the objective is nan at step 3" in table
    assert "not with these images" in table


# A finished run


def records(finished) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in finished.folder.glob("cells/*.json")}


def test_a_record_holds_results_specification_and_provenance(finished):
    found = records(finished)
    assert len(found) == 4
    for stem, record in found.items():
        assert (record["status"], record["reason"], "log" in record) == ("ok", None, False)
        assert re.fullmatch(rf"(beta-)?vae--digits-binary--s[01]--{record['key'][:12]}", stem)
        results = record["results"]
        assert {"elbo", "iwll", "kl", "reconstruction", "active_units", "bits_per_dim", "parameters"} <= set(results)
        assert results["elbo"] == pytest.approx(results["reconstruction"] - results["kl"], abs=1e-4)
        assert results["iwll"] >= results["elbo"]
        assert record["specification"]["train"]["epochs"] == 2
        assert record["specification"]["slots"]["prior"] == ["normal", {}]
        assert [len(values) for values in record["history"].values()] == [2, 2, 2]
        assert record["provenance"]["threads"] == 1
        assert record["data"]["shape"] == [1, 8, 8]
    assert not (finished.folder / "logs").exists()
    assert not (finished.folder / "running").exists()


def test_values_of_each_image_lie_beside_it(finished):
    for stem, record in records(finished).items():
        with numpy.load(finished.folder / "cells" / f"{stem}.npz", allow_pickle=False) as images:
            values = {name: images[name] for name in images.files}
        assert all(value.dtype == numpy.float32 for value in values.values())
        assert values["iwll"].shape == (300,)
        assert values["iwll"].mean(dtype=float) == pytest.approx(record["results"]["iwll"], abs=1e-4)


def test_weights_are_safetensors(finished):
    for stem, record in records(finished).items():
        weights = load_file(finished.folder / "checkpoints" / f"{stem}.safetensors")
        assert sum(value.size for value in weights.values()) == record["results"]["parameters"]
        assert all(numpy.isfinite(value).all() for value in weights.values())


def test_a_timing_is_a_record_of_its_own(finished):
    (path,) = finished.folder.glob("timings/*.json")
    record = json.loads(path.read_text())
    assert re.fullmatch(r"vae--digits-binary--timing--[0-9a-f]{12}", path.stem)
    assert (record["status"], record["seed"]) == ("ok", None)
    for name in ("train_images_per_second", "iwll_samples_per_second", "sample_images_per_second"):
        low, middle, high = (record["results"][name + end] for end in ("_low", "", "_high"))
        assert 0 < low <= middle <= high
    assert record["results"]["own_memory_bytes"] > 0


def test_every_cell_has_a_key_and_a_value_of_its_own(finished):
    found = records(finished).values()
    assert len({record["results"]["iwll"] for record in found}) == len({record["key"] for record in found}) == 4
