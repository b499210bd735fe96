"""Plugins from outside, as strangers write them: a file, an installed package, and both broken."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

SCRIPT = Path(sys.executable).with_name("vaezoo")

EXAMPLE = """
import math, numpy, torch, vaezoo
from torch import nn

@vaezoo.register.prior("cauchy", paper="Me (2026)")
class Cauchy(vaezoo.Prior):
    def __init__(self, latent: int, *, scale: float = 1.0):
        super().__init__()
        self.latent, self.scale = latent, scale
    def log_density(self, z):                     # [..., Z] -> [...]
        return -(math.pi * self.scale * (1 + (z / self.scale) ** 2)).log().sum(-1)
    def sample(self, n):
        return self.scale * torch.tan(math.pi * (vaezoo.noise.uniform(n, self.latent) - 0.5))

@vaezoo.register.decoder("one-layer")
class OneLayer(vaezoo.Decoder):
    def __init__(self, latent: int, parameter_shape: tuple[int, ...], *, width: int = 256):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(latent, width), nn.GELU(), nn.Linear(width, math.prod(parameter_shape)),
                                 nn.Unflatten(-1, parameter_shape))
    def forward(self, z):                         # [N, Z] -> [N, *parameter_shape]
        return self.net(z)

@vaezoo.register.likelihood("laplace-fixed")
class LaplaceFixed(vaezoo.Likelihood):
    measures = ("continuous",)
    def __init__(self, spec: vaezoo.DataSpec, *, scale: float = 0.1):
        super().__init__()
        self.parameter_shape, self.scale = spec.shape, scale
    def log_prob(self, x, parameters):            # [B, *shape], [K, B, *shape] -> [K, B]
        return -((x - parameters).abs() / self.scale + math.log(2 * self.scale)).flatten(2).sum(-1)
    def mean(self, parameters):
        return parameters

@vaezoo.register.dataset("my-patches")
def my_patches(root, seed):
    x = torch.from_numpy(numpy.load(root / "patches.npy"))
    return vaezoo.Dataset(train=x[:800], valid=x[800:900], test=x[900:], measure="continuous")
"""
"""The example of the design, as it stands there."""

COUNT = """
import os, pathlib
with (pathlib.Path(__file__).parent / "imports").open("a") as file:
    file.write(f"{os.getpid()}\\n")
"""
"""Writes down which process imports the file."""


class Outside:
    """A stranger's folder: plugin file, data, matrix; and what its run printed."""

    def __init__(self, shell, folder: Path):
        self.shell, self.folder = shell, folder
        self.plugin, self.results = folder / "mine.py", folder / "results" / "outside"

    def run(self):
        env = {"VAEZOO_DATA": str(self.folder)}
        return self.shell("run", "outside.toml", "--jobs", 1, "--device", "cpu", cwd=self.folder, env=env)

    @property
    def records(self) -> list[Path]:
        return sorted(self.results.glob("cells/*.json"))

    def written(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in self.records}


@pytest.fixture(scope="module")
def outside(shell, tmp_path_factory, matrix_file):
    """The example in a matrix: its prior swept, beside a row of vaezoo's own parts on its data."""
    made = Outside(shell, tmp_path_factory.mktemp("outside"))
    made.plugin.write_text(EXAMPLE + COUNT)
    patches = numpy.random.default_rng(0).normal(size=(1000, 3, 3)).astype(numpy.float32)
    numpy.save(made.folder / "patches.npy", patches)
    parts = {"prior": "cauchy", "decoder": {"name": "one-layer", "width": 8}, "likelihood": "laplace-fixed"}
    matrix_file(
        made.folder / "outside.toml",
        [{"name": "vae", "label": "mine", **parts, "sweep": {"prior": {"scale": [0.5, 1, 2.0]}}}, "vae"],
        plugins=["mine.py"],
        datasets=["my-patches"],
        train={"epochs": 1, "batch_size": 200},
    )
    made.first = made.run()
    made.processes = (made.folder / "imports").read_text().split()
    return made


def test_the_example_runs_in_a_matrix_and_is_swept(outside):
    assert (outside.first.code, outside.first.err) == (0, "")
    assert outside.first.out.splitlines()[0] == "cells: 4 to run"
    labels = ["mine, scale=0.5", "mine, scale=1", "mine, scale=2", "vae"]
    for label in labels:
        assert re.search(rf"ok +{re.escape(label)} on my-patches, seed 0 ", outside.first.out)
    printed = outside.shell.python(
        f"import vaezoo; f = vaezoo.read_results({str(outside.results)!r})\n"
        "print(list(f.label), list(f['prior.scale'].fillna(0)), f.iwll.nunique(), list(f['prior']))"
    )
    assert printed == f"{labels} [0.5, 1.0, 2.0, 0.0] 4 ['cauchy', 'cauchy', 'cauchy', 'normal']\n"


def test_every_cell_has_a_process_of_its_own(outside):
    """The file is imported in those of the four cells, and in those that list it, plan and decode the data."""
    assert len(outside.processes) == len(set(outside.processes)) == 7


def test_a_trained_model_is_loaded_again(outside):
    """Its weights give the record's numbers, without the data that it was trained on being asked for."""
    (path,) = [path for path in outside.records if '"scale": 2.0' in path.read_text()]
    code = f"""
import json, numpy, torch, vaezoo
record, path = json.load(open({str(path)!r})), {str(path)!r}
model = vaezoo.load_model(path, plugins=[{str(outside.plugin)!r}])
x = torch.from_numpy(numpy.load({str(outside.folder / "patches.npy")!r}))[900:]
found = vaezoo.log_likelihood(model, x, 5, seed=0, index=torch.arange(100))
stored = numpy.load(path.replace(".json", ".npz"))["iwll"]
print(type(model.prior).__name__, model.training, model.prior.scale)
print(numpy.abs(found.estimate.numpy() - stored).max() < 1e-4)
print(abs(float(found.estimate.double().mean()) - record["results"]["iwll"]) < 1e-4)
print(tuple(model.reconstruct(x).shape))
"""
    assert outside.shell.python(code) == "Cauchy False 2.0\nTrue\nTrue\n(100, 3, 3)\n"


def test_loading_without_the_plugins_says_which_are_needed(outside):
    (path,) = [path for path in outside.records if '"scale": 2.0' in path.read_text()]
    code = f"""
import vaezoo
try:
    vaezoo.load_model({str(path)!r})
except vaezoo.VaezooError as error:
    print(error)
"""
    said = outside.shell.python(code)
    assert re.match(r"(prior 'cauchy'|decoder 'one-layer'|likelihood 'laplace-fixed') is unknown; ", said)
    assert said.endswith("(the record was made with the plugins mine.py: give them as plugins=[...])\n")
    assert len(said.splitlines()) == 1


def test_a_comment_runs_nothing_again_and_code_just_its_own_cells(outside):
    """Docstrings and comments are no code; and the row of vaezoo's own parts depends on no line of the file."""
    before = outside.written()
    changed = EXAMPLE.replace("class Cauchy(vaezoo.Prior):", "class Cauchy(vaezoo.Prior):\n    '''Heavy tails.'''\n")
    outside.plugin.write_text("'''My parts.'''\n# A comment.\n" + changed + COUNT)
    done = outside.run()
    assert (done.code, done.out.splitlines()[0]) == (0, "cells: 0 to run, 4 already done")
    assert outside.written() == before

    outside.plugin.write_text(changed.replace("(z / self.scale) ** 2", "(z / self.scale).square()") + COUNT)
    done = outside.run()
    assert (done.code, done.out.splitlines()[0]) == (0, "cells: 3 to run, 1 already done")
    after = outside.written()
    assert {name: after[name] for name in before} == before
    assert len(after) == 7
    assert "4 ok" in done.out.splitlines()


BROKEN = EXAMPLE.replace('@vaezoo.register.dataset("my-patches")', "import no_such_module\n") + COUNT


def test_a_file_that_is_named_and_does_not_import_is_an_error_with_its_reason(shell, tmp_path, matrix_file):
    """Whether a matrix names it or the command line, and whether a row uses it or not."""
    (tmp_path / "broken.py").write_text(BROKEN)
    reason = r"plugin file .*broken\.py could not be imported: ModuleNotFoundError: No module named 'no_such_module'"
    matrix_file(tmp_path / "unused.toml", ["vae"], plugins=["broken.py"])
    matrix_file(tmp_path / "whole.toml", ["vae"])
    for words in (
        ("plan", "unused.toml"),
        ("run", "unused.toml"),
        ("plan", "whole.toml", "--plugin", "broken.py"),
        ("list", "priors", "--plugin", "broken.py"),
    ):
        assert re.fullmatch(reason, shell.wrong(*words, cwd=tmp_path)), words
    assert not (tmp_path / "results").exists()


def test_a_name_that_is_taken_is_refused_naming_both_places(shell, tmp_path):
    (tmp_path / "a.py").write_text(EXAMPLE)
    (tmp_path / "b.py").write_text(EXAMPLE)
    line = shell.wrong("list", "prior", "--plugin", "a.py", "--plugin", "b.py", cwd=tmp_path)
    a, b = (re.escape(str(tmp_path / name)) for name in ("a.py", "b.py"))
    assert re.fullmatch(rf"prior 'cauchy' is registered twice: {a}:5 and {b}:5; rename one of them", line)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('    def __init__(self, latent):\n        raise vaezoo.Skip("not today")\n        ', r"skipped: .*not today"),
    ],
)
def test_what_skips_is_skipped_when_it_is_planned(shell, tmp_path, matrix_file, source, said):
    """A reason at once, never a crash an hour in; and no error: other cells run."""
    (tmp_path / "mine.py").write_text(
        "import torch, vaezoo\n@vaezoo.register.prior('mine')\nclass Mine(vaezoo.Prior):\n"
        + ("    def log_density(self, z):\n        return -z.square().sum(-1)\n" if "log_density" not in source else "")
        + ("    def __init__(self, latent):\n        super().__init__()\n" if "__init__" not in source else "")
        + f"{source}\n        super().__init__()\n    def sample(self, n):\n        return torch.zeros(n, 2)\n"
    )
    matrix_file(tmp_path / "m.toml", [{"name": "vae", "prior": "mine"}], plugins=["mine.py"])
    done = shell("plan", "m.toml", "--device", "cpu", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    first, reason, last = done.out.splitlines()
    assert first == "vae on digits-binary: 1 skipped"
    assert re.match(said, reason)
    assert last.startswith("0 cells and 0 timings to run")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "def __init__(self, latnet):\n        super().__init__()",
            r"prior 'mine' .*: its constructor's argument 'latnet' is unknown; did you mean",
        ),
        (
            "def log_density(self, z, contxt):\n        return z.sum(-1)",
            r"log_density requests 'contxt', which it is not served; it can request context, ",
        ),
    ],
)
def test_what_a_method_cannot_be_served_is_an_error_with_what_it_can(shell, tmp_path, matrix_file, source, said):
    """A plugin's mistake is never a skipped row."""
    (tmp_path / "mine.py").write_text(
        "import torch, vaezoo\n@vaezoo.register.prior('mine')\nclass Mine(vaezoo.Prior):\n"
        + f"    {source}\n    def sample(self, n):\n        return torch.zeros(n, 2)\n"
    )
    matrix_file(tmp_path / "m.toml", [{"name": "vae", "prior": "mine"}], plugins=["mine.py"])
    assert re.search(said, shell.wrong("plan", "m.toml", "--device", "cpu", cwd=tmp_path))


def install(folder: Path, name: str, source: str) -> None:
    """What pip would leave of a package with one entry point."""
    package, facts = folder / name, folder / f"{name}-1.0.dist-info"
    package.mkdir()
    facts.mkdir()
    (package / "__init__.py").write_text(source)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[vaezoo.plugins]\n{name} = {name}\n")


@pytest.mark.slow
def test_an_installed_package_is_found_and_a_broken_one_is_harmless(tmp_path, shell, matrix_file):
    """In processes that have not looked for packages yet, the worker among them."""
    install(tmp_path, "heavy_tails", EXAMPLE)
    install(tmp_path, "brittle", BROKEN.replace("cauchy", "brittle"))
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        "COLUMNS": "250",
    }
    done = subprocess.run([SCRIPT, "list"], env=env, capture_output=True, text=True)
    assert done.returncode == 0
    assert re.search(r"^cauchy .*Me \(2026\)", done.stdout, re.MULTILINE)
    assert re.search(r"^my-patches", done.stdout, re.MULTILINE)
    assert re.search(
        r"^unavailable: plugin package brittle \(brittle\) could not be imported: ModuleNotFoundError: No mod.*",
        done.stdout,
        re.MULTILINE,
    )
    assert not re.search(r"^brittle", done.stdout, re.MULTILINE)
    matrix_file(tmp_path / "m.toml", [{"name": "vae", "prior": "cauchy"}], datasets=["linear-gaussian"])
    words = [SCRIPT, "run", "m.toml", "--device", "cpu", "--jobs", "1"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(
        "warning: plugin package brittle (brittle) could not be imported: ModuleNotFoundError"
    )
    assert "1 ok" in done.stdout.splitlines()
