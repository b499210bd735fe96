"""The command line, in real processes: what it prints, what it writes, and how it says that a question was wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(sys.executable).with_name("vaezoo")
ROOT = Path(__file__).parent.parent


# What there is


def test_list_is_what_is_registered(shell):
    done = shell("list")
    assert (done.code, done.err) == (0, "")
    for name in ("gaussian", "vampprior", "bernoulli", "iwae", "beta-vae", "digits-binary", "active-units"):
        assert re.search(rf"^{name}\b", done.out, re.MULTILINE), name
    assert "Kingma and Welling (2014)" in done.out
    one, plural = shell("list", "prior"), shell("list", "priors")
    assert one == plural
    assert "vampprior" in one.out
    assert "bernoulli" not in one.out


def test_show_a_variant_and_a_part(shell):
    done = shell("show", "beta-vae")
    assert done.code == 0
    assert done.out.startswith("variant/beta-vae    vaezoo/variants/beta_vae.py:")
    assert "beta: float = 4.0" in done.out
    assert "the natural likelihood of the data set's measure" in done.out
    done = shell("show", "prior/vampprior")
    assert "Tomczak and Welling (2018)" in done.out
    assert re.search(r"^components: int = \d+$", done.out, re.MULTILINE)


def test_env_says_what_a_bug_report_needs(shell, tmp_path):
    done = shell("env", "--data-root", tmp_path)
    assert done.code == 0
    assert re.search(rf"^torch +{re.escape(torch.__version__)}$", done.out, re.MULTILINE)
    assert re.search(r"^cpu .* \d+ GiB, \d+ cores$", done.out, re.MULTILINE)
    assert re.search(rf"^data +{re.escape(str(tmp_path))}$", done.out, re.MULTILINE)


def test_without_a_command_there_is_help():
    done = subprocess.run([SCRIPT], capture_output=True, text=True)
    assert done.returncode == 2
    for command in ("list", "show", "plan", "run", "try", "status", "tables", "env"):
        assert re.search(rf"\b{command}\b", done.stdout + done.stderr)


# Wrong questions


def test_a_wrong_question_to_the_console_script(tmp_path):
    """As the tests below, and without their shared imports."""
    done = subprocess.run([SCRIPT, "run", "nowhere.toml"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: nowhere\.toml does not exist; there is no \.toml file in .*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


ROW = '[[variants]]\nname = "vae"\n'
TOP = 'datasets = ["digits-binary"]\n'


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"{TOP}[train]\nepoch = 3\n{ROW}", r"m\.toml: train\.epoch is not a key.*did you mean.*epochs"),
        (f"{TOP}[model]\nseeds = 2\n{ROW}", r"m\.toml: model\.seeds: .*move it above the first \[table\]"),
        (f"{TOP}[train]\nepochs = -1\n{ROW}", r"m\.toml: train\.epochs: expected a whole number >= 1, got -1"),
        (f'{TOP}[[variants]]\nname = "va"\n', r".*variant 'va' is unknown; did you mean 'vae'"),
        (f'{TOP}{ROW}prior = "vampprio"\n', r"row 'vae': .*prior 'vampprio' is unknown; did you mean 'vampprior'\?"),
        (f"{TOP}{ROW}objective = {{ bta = 2 }}\n", r"row 'vae': .*'elbo'.*hyper-parameter 'bta' is unknown"),
        (
            f'{TOP}{ROW}prior = {{ name = "vampprior", component = 5 }}\n',
            r"row 'vae': prior 'vampprior': hyper-parameter 'component' is unknown; did you mean 'components'\?",
        ),
        (f'{TOP}[[variants]]\nname = "beta-vae"\nobjective = {{ beta = "high" }}\n', r"row 'beta-vae': .*beta.*'high'"),
        (f'datasets = ["digit"]\n{ROW}', r"dataset 'digit' is unknown; did you mean 'digits'"),
        (f'datasets = ["digits-binary"\n{ROW}', r"m\.toml: .*line \d"),
        (f'plugins = ["mine.py"]\n{TOP}{ROW}', r"plugin file .*mine\.py does not exist; a plugin's path is relative"),
    ],
)
def test_a_wrong_matrix_is_one_line(shell, tmp_path, source, said):
    (tmp_path / "m.toml").write_text(source)
    assert re.match(said, shell.wrong("run", "m.toml", "--device", "cpu", cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["m.toml"]


def test_several_wrong_keys_are_a_line_each(shell, tmp_path):
    (tmp_path / "m.toml").write_text(f"{TOP}[train]\nepoch = 3\nbatchsize = 3\n{ROW}")
    done = shell("run", "m.toml", cwd=tmp_path)
    assert done.code == 2
    assert [line.split(" is not")[0] for line in done.err.splitlines()] == [
        "error: m.toml: train.epoch",
        "error: m.toml: train.batchsize",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--jobs", 0], r"--jobs must be 1 or more, got 0"),
        (["--device", "nonsense"], r"device 'nonsense' is unknown; use auto, cpu, cuda or cuda:N"),
        (["--device", "cuda:77"], r"device 'cuda:77' is not there: torch sees \d+ CUDA devices; use --device cpu"),
        (["--out", "a-file"], r"results cannot be written to a-file: .*; give another folder with --out"),
        (["--out", "a-file/below"], r"results cannot be written to a-file/below: Not a directory; give another folder"),
        (["--plugin", "mine.py"], r"plugin file .*/mine\.py does not exist"),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(shell, tmp_path, matrix_file, words, said):
    matrix_file(tmp_path / "m.toml", ["vae"])
    (tmp_path / "a-file").write_text("as it was")
    assert re.match(said, shell.wrong("run", "m.toml", *words, cwd=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-file", "m.toml"]
    assert (tmp_path / "a-file").read_text() == "as it was"


def test_an_unknown_option_or_command_has_a_hint(shell, tmp_path):
    for words, hint in ([["run", "m.toml", "--ot", "x"], "--out"], [["lst"], "list"]):
        done = shell(*words, cwd=tmp_path)
        assert (done.code, done.out) == (2, "")
        assert re.search(rf"No such (option|command).*{words[-2] if len(words) > 2 else 'lst'}", done.err)
        assert hint in done.err
        assert "Traceback" not in done.err


def test_missing_data_without_a_network_is_one_line(shell, tmp_path, matrix_file):
    """Every request goes to a port of this machine where nobody listens."""
    matrix_file(tmp_path / "m.toml", ["vae"], datasets=["mnist"])
    (tmp_path / "data").mkdir()
    env = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    env |= {"no_proxy": "", "NO_PROXY": ""}
    said = shell.wrong("run", "m.toml", "--data-root", tmp_path / "data", cwd=tmp_path, env=env)
    assert re.match(r"dataset 'mnist': MNIST is not in .*/data and could not be downloaded", said)
    assert "VAEZOO_DATA or --data-root" in said
    assert not (tmp_path / "results").exists()


def test_nan_in_the_data_is_one_line(shell, tmp_path, matrix_file):
    (tmp_path / "mine.py").write_text(
        "import torch, vaezoo\n\n@vaezoo.register.dataset('broken')\ndef broken(root, seed):\n"
        "    x = torch.zeros(9, 4)\n    x[3, 1] = float('nan')\n"
        "    return vaezoo.Dataset(x, x[:3], x[:3], measure='continuous')\n"
    )
    matrix_file(tmp_path / "m.toml", ["vae"], datasets=["broken"], plugins=["mine.py"])
    said = shell.wrong("run", "m.toml", cwd=tmp_path)
    assert said.startswith("dataset 'broken': train images hold NaN or infinity in 1 of 9 images, first in image 3")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", ["status", "tables"])
def test_a_folder_without_results_is_one_line(shell, tmp_path, command):
    said = shell.wrong(command, tmp_path)
    assert said == f"{tmp_path} holds no results of a matrix (no plan.json); give the folder that `vaezoo run` wrote to"
    assert list(tmp_path.iterdir()) == []
    assert shell.wrong(command, tmp_path / "nowhere").startswith(f"{tmp_path / 'nowhere'} holds no results")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "pirors"], r"slot .*'?piror.* is unknown; did you mean 'prior'"),
        (["show", "vampprio"], r"name 'vampprio' is unknown; did you mean 'vampprior'"),
        (["show", "gaussian"], r"'gaussian' stands in several slots: say posterior/gaussian or likelihood/gaussian"),
        (["show", "prior/vampprio"], r"prior 'vampprio' is unknown; did you mean 'vampprior'\?"),
        (["show", "priors/normal"], r"slot 'priors' is unknown; did you mean 'prior'"),
        (["try", "vampprior", "--dataset", "digits"], r"`try` takes a variant, and 'vampprior' is a prior; try one of"),
        (["try", "vae", "--dataset", "digit"], r"dataset 'digit' is unknown; did you mean 'digits'"),
        (["try", "vae", "--dataset", "digits", "--set", "train.epochs"], r"expected KEY=VALUE, got 'train\.epochs'"),
        (["try", "vae", "--dataset", "digits", "--set", "train.epoch=1"], r".*train\.epoch is not a key"),
        (["try", "vae", "--dataset", "digits", "--set", "train.epochs=x"], r".*train\.epochs: expected a whole number"),
        (
            ["try", "vae", "--dataset", "digits", "--set", "train=1", "--set", "train.epochs=1"],
            r"--set train\.epochs=1",
        ),
        (["plan", "nowhere.toml"], r"nowhere\.toml does not exist"),
        (["list", "--plugin", "mine.py"], r"plugin file .*/mine\.py does not exist"),
    ],
)
def test_a_wrong_name_is_one_line(shell, tmp_path, words, said):
    assert re.match(said, shell.wrong(*words, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


# A run


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
    assert lines[-3] == "4 ok"
    assert re.fullmatch(
        r"best on digits-binary: (beta-)?vae, iwll -\d+\.\d\d nats \(-\d+\.\d\d to -\d+\.\d\d\)", lines[-2]
    )
    assert lines[-1] == "tables: results/first/tables"


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
        "4 cells and 1 timings to run on cpu, into elsewhere",
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
    words += ["--set", "evaluate.throughput=false", "--set", "prior=mixture", "--set", "prior.components=3"]
    wrong = shell.wrong("try", *words, cwd=tmp_path)
    assert wrong == "--set prior.components=3: 'prior' has been given a value already; give it once"
    words[-3:] = ["prior.name=mixture", "--set", "prior.components=3"]
    done = shell("try", *words, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "cells: 1 to run"
    assert done.out.splitlines()[-1] == "tables: results/try-vae/tables"
    code = """
import json, vaezoo
frame = vaezoo.read_results("results/try-vae")
(path,) = __import__("pathlib").Path("results/try-vae/cells").glob("*.json")
model, record = vaezoo.load_model(path), json.loads(path.read_text())
print(len(frame), record["specification"]["slots"]["prior"], type(model.prior).__name__)
"""
    assert shell.python(code, cwd=tmp_path).split("\n")[0].startswith("1 ['mixture', {'components': 3")


def test_a_closed_pipe_is_no_error(finished):
    """`vaezoo list | head`."""
    with subprocess.Popen(
        [SCRIPT, "tables", finished.folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        said = process.stderr.read().decode()
        process.wait()
    assert "Traceback" not in said


def test_the_reference_matrices_are_right(shell):
    for path in sorted((ROOT / "benchmarks").glob("*.toml")):
        code = f"from vaezoo.runner.matrix import load, rows; print(len(rows(load({str(path)!r}))) > 0)"
        assert shell.python(code) == "True\n", path
    done = shell("plan", ROOT / "benchmarks" / "quickstart.toml", "--out", os.devnull + "/x", "--device", "cpu")
    assert done.code == 0
    assert done.out.count("3 to run") == 8
