"""The command line, in real processes: what it lists and shows, and its errors for invalid user input."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vaezoo
from vaezoo.cli.app import row_settings, variant_plugin
from vaezoo.core.errors import VaezooError

SCRIPT = Path(sys.executable).with_name("vaezoo")


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
    assert done.out.startswith("variant/beta-vae    vaezoo/variants/objectives.py:")
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


def test_version_is_the_installed_one(shell):
    done = shell("--version")
    assert (done.code, done.out, done.err) == (0, f"vaezoo {vaezoo.__version__}\n", "")


def test_without_a_command_there_is_help():
    done = subprocess.run([SCRIPT], capture_output=True, text=True)
    assert done.returncode == 2
    for command in ("list", "show", "plan", "run", "try", "status", "tables", "env"):
        assert re.search(rf"\b{command}\b", done.stdout + done.stderr)


@pytest.mark.slow
def test_a_closed_pipe_is_no_error(finished):
    """`vaezoo list | head`."""
    with subprocess.Popen(
        [SCRIPT, "tables", finished.folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        said = process.stderr.read().decode()
        process.wait()
    assert "Traceback" not in said


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-"])
def test_closed_streams_are_no_error(finished, closed):
    """As a batch queue or `>&-` leaves them."""
    done = subprocess.run(f"{SCRIPT} status {finished.folder} {closed}", shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_likelihood_without_measures_is_one_line(shell, tmp_path, matrix_file):
    """For `check` as for a matrix."""
    (tmp_path / "mine.py").write_text(
        "import vaezoo\n@vaezoo.register.likelihood('mine')\nclass Mine(vaezoo.Likelihood):\n"
        "    def __init__(self, spec):\n        super().__init__()\n        self.parameter_shape = spec.shape\n"
        "    def log_prob(self, x, parameters):\n        return -(x - parameters).square().flatten(2).sum(-1)\n"
        "    def mean(self, parameters):\n        return parameters\n"
    )
    matrix_file(tmp_path / "m.toml", [{"name": "vae", "likelihood": "mine"}], plugins=["mine.py"])
    line = r"likelihood 'mine' \(.*mine\.py:2\) must declare `measures`, .* write for example measures = \('binary',\)"
    assert re.match(line, shell.wrong("check", "mine.py", cwd=tmp_path))
    assert re.match(f"row 'vae': {line}", shell.wrong("plan", "m.toml", cwd=tmp_path))


# Invalid user input


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
        (f'{TOP}{ROW}prior = "vampprio"\n', r"row 'vae': .*prior 'vampprio' is unknown; did you mean 'vampprior' "),
        (f"{TOP}{ROW}objective = {{ bta = 2 }}\n", r"row 'vae': .*'elbo'.*hyper-parameter 'bta' is unknown"),
        (
            f'{TOP}{ROW}prior = {{ name = "vampprior", component = 5 }}\n',
            r"row 'vae': prior 'vampprior': hyper-parameter 'component' is unknown; did you mean 'components'\?",
        ),
        (f'{TOP}[[variants]]\nname = "beta-vae"\nobjective = {{ beta = "high" }}\n', r"row 'beta-vae': .*beta.*'high'"),
        (f"{TOP}{ROW}prior = {{ name = 'mixture', components = true }}\n", r"row 'vae': .* a whole number, got true$"),
        (f"{TOP}{ROW}objective = {{ name = 'beta', beta = {{ a = [false] }} }}\n", r".*number, got { a = \[false\] }$"),
        (
            f'datasets = [{{ name = "digits", context = true }}]\n{ROW}',
            r"dataset 'digits': option 'context' must be 'labels' or left out, got true$",
        ),
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
        (["--jobs", 10**20], r"--jobs must be 1 or more, got 1000+; at most 10000"),
        (["--device", "nonsense"], r"device 'nonsense' is unknown; use auto, cpu, cuda or cuda:N"),
        (["--device", "cuda:77"], r"device 'cuda:77' is not there: torch sees \d+ CUDA devices; use --device cpu"),
        (["--out", "a-file"], r"results cannot be written to a-file: .*; give another folder with --out"),
        (["--out", "a-file/below"], r"results cannot be written to a-file/below: Not a directory; give another folder"),
        (["--plugin", "mine.py"], r"plugin file .*/mine\.py does not exist$"),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(shell, tmp_path, matrix_file, words, said):
    matrix_file(tmp_path / "m.toml", ["vae"])
    (tmp_path / "a-file").write_text("as it was")
    assert re.match(said, shell.wrong("run", "m.toml", *words, cwd=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-file", "m.toml"]
    assert (tmp_path / "a-file").read_text() == "as it was"


def test_whole_numbers_have_a_bound(shell, tmp_path, matrix_file):
    matrix_file(tmp_path / "m.toml", ["vae"])
    for words in (
        ["run", "m.toml", "--retries", 10**20],
        ["try", "vae", "--dataset", "digits-binary", "--seeds", 10**20],
        ["throughput", "vae", "--pack", 10**20],
        ["verify", "results", "--sample", 10**20],
    ):
        done = shell(*words, cwd=tmp_path)
        assert (done.code, done.out) == (2, ""), words
        assert "Traceback" not in done.err


def test_a_working_folder_that_is_gone_is_one_line(shell, tmp_path):
    (tmp_path / "gone").mkdir()
    code = "import os; os.rmdir(os.getcwd()); import vaezoo.cli; vaezoo.cli.main()"
    running = shell.start_python(code, cwd=tmp_path / "gone")
    done = running.wait()
    assert (done.code, done.err) == (2, "error: the working folder does not exist any more; change to another one\n")


def test_the_command_ends_without_a_search_for_cycles():
    """Among all of torch's objects it takes most of a second. The end of a cycle would be printed."""
    code = (
        "import sys, vaezoo.cli\n"
        "class Node:\n"
        "    def __del__(self, write=print): write('searched')\n"
        "node = Node(); node.own = node; del node\n"
        "if sys.argv.pop() == 'command': vaezoo.cli.main()\n"
    )
    for last, found in ("command", ""), ("nothing", "searched\n"):
        words = [sys.executable, "-c", f"import gc; gc.disable()\n{code}", "--version", last]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (f"vaezoo {vaezoo.__version__}\n" if last == "command" else "") + found


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
    ("settings", "words"),
    [
        (["name=iwae"], "--set name=iwae: the argument NAME says which variant"),
        (["train.epochs=1", "train.epochs=2"], "--set train.epochs=2: 'train.epochs' has been given a value already"),
        (["train.epochs=1", "train=1"], "--set train=1: 'train' has been given a value already"),
    ],
)
def test_settings_that_are_refused(settings, words):
    with pytest.raises(VaezooError, match=re.escape(words)):
        row_settings(settings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bata-vae", "^variant 'bata-vae' is unknown; did you mean 'beta-vae'"),
        ("norml", "^variant 'norml' is unknown; there are: "),
        ("gaussian", "^`try` takes a variant, and 'gaussian' is a posterior and a likelihood; try one of"),
    ],
)
def test_only_variants_are_near_misses_of_a_variant(name, words):
    with pytest.raises(VaezooError, match=words):
        variant_plugin(name, "try")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "pirors"], r"slot .*'?piror.* is unknown; did you mean 'prior'"),
        (["show", "vampprio"], r"name 'vampprio' is unknown; did you mean 'vampprior'"),
        (["show", "gaussian"], r"'gaussian' is a name in several slots; use posterior/gaussian or likelihood/gaussian"),
        (["show", "prior/vampprio"], r"prior 'vampprio' is unknown; did you mean 'vampprior' "),
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
        (["list", "--plugin", "mine.py"], r"plugin file .*/mine\.py does not exist$"),
        (["check", "mine.py"], r"plugin file .*/mine\.py does not exist$"),
        (["show", "prior"], r"'prior' is a slot; `vaezoo list prior` lists its plugins"),
        (
            ["try", "vae", "--dataset", "digits", "--set", "epochs=3"],
            r"--set epochs=3: 'epochs' belongs under train; say --set train\.epochs=3$",
        ),
    ],
)
def test_a_wrong_name_is_one_line(shell, tmp_path, words, said):
    assert re.match(said, shell.wrong(*words, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


# A reader that goes away

WITHOUT_READER = """
import os, sys
reader, writer = os.pipe()
os.dup2(writer, 1)
os.close(reader)
import typer
from vaezoo.cli.app import app, main, terminal

@app.command("talk")
def talk():
    for count in range(3):
        typer.echo("a line")
        terminal().print("another")
    sys.stderr.write("went on")

sys.argv = ["vaezoo", "talk"]
main()
"""


def test_a_command_goes_on_without_the_reader_of_its_output():
    done = subprocess.run([sys.executable, "-c", WITHOUT_READER], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "went on")
