"""Runs from the command line, in real processes: what they print and write, and what a second run leaves unchanged."""

import os
import re
from pathlib import Path

import pytest

from vaezoo.api import plan_of
from vaezoo.cli import app as command_line
from vaezoo.cli import matrix_commands

ROOT = Path(__file__).parents[2]


def test_a_run_prints_its_tables_its_counts_and_the_best(finished):
    done = finished.done
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "cells: 4 to run"
    cells = [(label, seed) for label in ("vae", "beta-vae") for seed in (0, 1)]
    for number, (label, seed) in enumerate(cells, start=1):
        form = rf"\[{number}/4\] ok +{label} on digits-binary, seed {seed}  [\d.]+ s  iwll -\d+\.\d\d"
        assert re.fullmatch(form, lines[number])
    assert lines[5] == "timings: 1 to run"
    assert re.fullmatch(r"\[1/1\] ok +vae on digits-binary, timing  [\d.]+ s", lines[6])
    assert "first: digits-binary" in lines
    assert lines[-4] == "4 ok"
    assert re.fullmatch(
        r"best on digits-binary: (beta-)?vae, iwll -\d+\.\d\d nats \(-\d+\.\d\d to -\d+\.\d\d\)"
        "(; 1 row cannot be told from it)?",
        lines[-3],
    )
    assert lines[-2:] == ["tables: results/first/tables", "figures: results/first/figures"]


def shown(out: str) -> list[str]:
    """The tables and what stands below them."""
    return out[out.index("first: digits-binary") :].splitlines()


def snapshot(folder: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for kind in ("cells", "timings", "checkpoints")
        for path in (folder / kind).iterdir()
    }


def test_the_same_run_again_computes_nothing_and_prints_the_same(shell, finished):
    before = snapshot(finished.folder)
    written = {path.name: path.read_text() for path in (finished.folder / "tables").iterdir()}
    done = shell("run", finished.matrix.name, "--jobs", 1, "--device", "cpu", cwd=finished.matrix.parent)
    assert done.code == 0
    assert done.out.splitlines()[0] == "cells: 0 to run, 4 already done"
    assert "timings: 0 to run, 1 already done" in done.out
    assert shown(done.out) == shown(finished.done.out)
    assert snapshot(finished.folder) == before
    assert {path.name: path.read_text() for path in (finished.folder / "tables").iterdir()} == written


def test_plan_says_what_is_done_and_writes_nothing(shell, finished, tmp_path):
    done = shell("plan", finished.matrix.name, "--device", "cpu", cwd=finished.matrix.parent)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "vae on digits-binary: 2 done",
        "beta-vae on digits-binary: 2 done",
        "0 cells and 0 timings to run on cpu, into results/first",
    ]
    done = shell("plan", finished.matrix, "--device", "cpu", "--out", "elsewhere", cwd=tmp_path)
    assert done.out.splitlines() == [
        "vae on digits-binary: 2 to run",
        "beta-vae on digits-binary: 2 to run",
        "4 cells and 1 timing to run on cpu, into elsewhere",
        "no estimate: no past record",
    ]
    assert list(tmp_path.iterdir()) == []


def test_tables_are_those_that_the_run_wrote(shell, finished):
    folder = finished.folder / "tables"
    written = {path.name: path.read_text() for path in folder.iterdir()}
    assert sorted(written) == ["digits-binary.csv", "digits-binary.md", "digits-binary.tex"]
    for path in folder.iterdir():
        path.unlink()
    done = shell("tables", finished.folder)
    assert (done.code, done.err) == (0, "")
    assert {path.name: path.read_text() for path in folder.iterdir()} == written
    for name in written:
        assert str(folder / name) in done.out
    assert [line for line in shown(done.out) if line.startswith("│")] == [
        line for line in shown(finished.done.out) if line.startswith("│")
    ]


def test_status_after_the_run(shell, finished):
    done = shell("status", finished.folder)
    assert (done.code, done.out, done.err) == (0, "first: 4 ok\n", "")


def test_try_is_a_matrix_of_one_row(shell, tmp_path):
    words = ["vae", "--dataset", "digits-binary", "--device", "cpu", "--jobs", 1, "--set", "train.epochs=1"]
    words += ["--set", "model.latent=2", "--set", "model.hidden=[8]", "--set", "evaluate.importance_samples=5"]
    words += ["--set", "prior=mixture", "--set", "prior.components=3"]
    wrong = shell.wrong("try", *words, cwd=tmp_path)
    assert wrong == "--set prior.components=3: 'prior' has been given a value already; give it once"
    words[-3:] = ["prior.name=mixture", "--set", "prior.components=3"]
    done = shell("try", *words, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "cells: 1 to run"
    assert done.out.splitlines()[-1] == "figures: results/try-vae/figures"
    assert "timings: 0 to run" in done.out.splitlines()
    code = """
import json, vaezoo
frame = vaezoo.read_results("results/try-vae")
(path,) = __import__("pathlib").Path("results/try-vae/cells").glob("*.json")
model, record = vaezoo.load_model(path), json.loads(path.read_text())
print(len(frame), record["specification"]["slots"]["prior"], type(model.prior).__name__)
"""
    assert shell.python(code, cwd=tmp_path).split("\n")[0].startswith("1 ['mixture', {'components': 3")


@pytest.mark.parametrize(
    ("words", "timings"),
    [([], 0), (["--throughput"], 1), (["--set", "evaluate.throughput=true"], 1), (["--seeds", "3"], 0)],
)
def test_try_times_only_where_it_is_asked_to(monkeypatch, words, timings):
    matrices = []
    monkeypatch.setattr(matrix_commands, "_carry_out", lambda children, matrix, *rest: matrices.append(matrix))
    command_line.app(["try", "vae", "--dataset", "digits-binary", "--device", "cpu", *words], standalone_mode=False)
    assert [len(plan_of(matrix, device="cpu")[0].timings) > 0 for matrix in matrices] == [timings > 0]


def test_the_reference_matrices_are_right(shell):
    paths = sorted((ROOT / "benchmarks").glob("*.toml"))
    assert len(paths) > 1
    for path in paths:
        code = f"from vaezoo.runner.matrix.file import load, rows; print(len(rows(load({str(path)!r}))) > 0)"
        assert shell.python(code) == "True\n", path
    done = shell("plan", ROOT / "benchmarks" / "quickstart.toml", "--out", os.devnull + "/x", "--device", "cpu")
    assert done.code == 0
    assert done.out.count("3 to run") == 8
