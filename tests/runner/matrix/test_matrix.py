"""The matrix file: what a right one says, and the command line's settings; light to import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from matrices import ROW, TOP, message, variants, write

import vaezoo
from vaezoo.core.errors import VaezooError
from vaezoo.runner.matrix.file import DatasetEntry, load, parse_setting, rows
from vaezoo.runner.matrix.schema import EvaluateTable, MetricEntry
from vaezoo.training.options import TrainingOptions

EXAMPLE = """
name = "mnist-priors"
datasets = ["mnist-dynamic"]              # a name, or { name = "...", option = ... }
seeds = 3                                 # a count, or a list
plugins = []
[model]                                   # for all rows: sizes, and any slot
latent = 40
hidden = [300, 300]
[train]
epochs = 200
batch_size = 100
learning_rate = 1e-3
[evaluate]
importance_samples = 5000
images = 1000
metrics = []
[[variants]]
name = "vae"
[[variants]]
name = "vae"
label = "vae, VampPrior 500"
prior = { name = "vampprior", components = 500 }
train = { epochs = 400 }
[[variants]]
name = "beta-vae"
[variants.sweep]
objective.beta = [1, 4]
model.latent = [10, 40]
[[references]]
label = "a paper"
dataset = "mnist-dynamic"
iwll = -82.43
"""


# What a right file says


def test_the_example_of_the_design(tmp_path):
    matrix = load(write(tmp_path, EXAMPLE))
    found = rows(matrix)
    assert [row.label for row in found] == [
        "vae",
        "vae, VampPrior 500",
        "beta-vae, beta=1, latent=10",
        "beta-vae, beta=1, latent=40",
        "beta-vae, beta=4, latent=10",
        "beta-vae, beta=4, latent=40",
    ]
    assert (matrix.name, matrix.seeds, matrix.datasets) == (
        "mnist-priors",
        [0, 1, 2],
        [DatasetEntry(name="mnist-dynamic")],
    )
    assert [row.slots for row in found[:3]] == [
        {},
        {"prior": ("vampprior", {"components": 500})},
        {"objective": (None, {"beta": 1})},
    ]
    assert [row.train.epochs for row in found] == [200, 400, 200, 200, 200, 200]
    assert [row.latent for row in found] == [40, 40, 10, 40, 10, 40]
    assert {tuple(row.hidden) for row in found} == {(300, 300)}
    assert {row.evaluate.images for row in found} == {1000}
    assert [row.place for row in found] == ["variants[1]", "variants[2]", *["variants[3]"] * 4]
    assert found[1].settings()["prior.components"] == 500
    assert found[1].settings()["train.batch_size"] == 100
    assert (matrix.references[0].iwll, matrix.references[0].elbo) == (-82.43, None)


def test_what_is_left_out_has_a_default(tmp_path):
    matrix = load(write(tmp_path, TOP + ROW))
    assert (matrix.name, matrix.seeds, matrix.plugins, matrix.timeout, matrix.references) == ("m", [0], [], None, [])
    (row,) = rows(matrix)
    assert (row.label, row.variant, row.slots) == ("vae", "vae", {})
    assert (row.latent, row.hidden, row.allow_pseudo_likelihood) == (20, [400], False)
    assert row.train == TrainingOptions()
    assert row.evaluate == EvaluateTable(importance_samples=1000, images=None, metrics=[], throughput=True)


def test_a_dump_loads_to_the_same_matrix(tmp_path):
    (tmp_path / "mine.py").touch()
    source = EXAMPLE.replace("plugins = []", 'plugins = ["mine.py"]\ntimeout = 60')
    source = source.replace("metrics = []", 'metrics = ["fid", { name = "mig", bins = 20 }]')
    source = source.replace('["mnist-dynamic"]', '["mnist-dynamic", { name = "digits", labels = true }]')
    matrix = load(write(tmp_path, source))
    dumped = json.loads(json.dumps(matrix.dump()))
    assert load(dumped) == matrix
    assert rows(load(dumped)) == rows(matrix)
    assert dumped["plugins"] == [str((tmp_path / "mine.py").resolve())]
    assert matrix.evaluate.metrics == [MetricEntry(name="fid"), MetricEntry(name="mig", bins=20)]
    assert [entry.label for entry in matrix.datasets] == ["mnist-dynamic", "digits, labels=true"]


def test_a_reference_is_to_a_label(tmp_path):
    sets = 'datasets = ["a", { name = "b", size = 8 }, { name = "c", size = 8 }, "c"]\n'

    def referred(*names):
        source = "".join(f'[[references]]\nlabel = "x"\ndataset = "{name}"\niwll = 1\n' for name in names)
        return [each.dataset for each in load(write(tmp_path, sets + ROW + source)).references]

    wanted = ["a", "b, size=8", "b, size=8", "c", "c, size=8"]
    assert referred("a", "b", "b, size=8", "c", "c, size=8") == wanted
    matrix = load(write(tmp_path, sets + ROW + '[[references]]\nlabel = "x"\ndataset = "b"\niwll = 1\n'))
    assert load(matrix.dump()) == matrix
    assert "references" not in load(write(tmp_path, sets + ROW)).dump()


def test_a_reference_to_one_of_several_datasets_is_refused(tmp_path):
    sets = 'datasets = [{ name = "d", size = 8 }, { name = "d", size = 9 }]\n'
    said = message(write(tmp_path, sets + ROW + '[[references]]\nlabel = "x"\ndataset = "d"\niwll = 1\n'))
    assert said == (
        "m.toml: references[1].dataset: expected one of 'd, size=8' or 'd, size=9', got 'd', "
        "which is the name of each; write one"
    )


def test_plugins_are_relative_to_the_file_or_the_working_folder(tmp_path, monkeypatch):
    path = write(tmp_path, 'plugins = ["a.py", "../b.py"]\n' + TOP + ROW)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    here = tmp_path.resolve()
    expected = [here / "a.py", here.parent / "b.py", here / "elsewhere" / "c.py"]
    assert load(path, plugins=[Path("c.py"), here / "a.py"]).plugins == expected
    assert variants({"name": "vae"}, plugins=["a.py"]).plugins == [here / "elsewhere" / "a.py"]


def test_a_dict_is_as_good_as_a_file(tmp_path):
    source = {"datasets": ("d",), "seeds": (3, 5), "variants": ({"name": "vae", "model": {"hidden": (7, 8)}},)}
    before = json.dumps(source)
    matrix = load(source)
    assert (matrix.name, matrix.seeds, rows(matrix)[0].hidden) == ("matrix", [3, 5], [7, 8])
    assert json.dumps(source) == before
    assert load(write(tmp_path, 'seeds = [3, 5]\nname = "matrix"\n' + TOP + ROW + "model.hidden = [7, 8]\n")) == matrix


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    path = tmp_path / "m.toml"
    path.write_bytes(b"\xef\xbb\xbf" + (TOP + ROW).replace("\n", "\r\n").encode())
    assert [row.label for row in rows(load(path))] == ["vae"]


def test_whole_numbers_are_fine_where_floats_are_expected():
    (row,) = rows(variants({"name": "vae"}, train={"learning_rate": 1, "gradient_clip": 2}, timeout=60))
    assert (row.train.learning_rate, row.train.gradient_clip) == (1.0, 2.0)


def test_nothing_hidden_is_a_width():
    assert rows(variants({"name": "vae"}, model={"hidden": []}))[0].hidden == []


# The command line's settings


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ("train.epochs=5", ["train", "epochs"], 5),
        ("train.learning_rate = 1e-4", ["train", "learning_rate"], 1e-4),
        ("prior=vampprior", ["prior"], "vampprior"),
        ('prior="a b"', ["prior"], "a b"),
        ("prior={name='flow', layers=3}", ["prior"], {"name": "flow", "layers": 3}),
        ("model.hidden=[300, 300]", ["model", "hidden"], [300, 300]),
        ("evaluate.throughput=false", ["evaluate", "throughput"], False),
        ("prior.kind=2020-01-01", ["prior", "kind"], "2020-01-01"),
        ("prior.kind=a/b-c.d", ["prior", "kind"], "a/b-c.d"),
    ],
)
def test_a_setting_is_toml_or_a_word(written, key, value):
    found = parse_setting(written)
    assert found == (key, value)
    assert type(found[1]) is type(value)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("train.epochs", r"^expected KEY=VALUE, got 'train\.epochs'; write for example train\.epochs=5"),
        ("train.epochs=", r"^expected KEY=VALUE, got 'train\.epochs='"),
        ("=5", r"^expected a key like train\.epochs before the '=', got ''"),
        ("train..epochs=5", r"^expected a key like train\.epochs before the '=', got 'train\.\.epochs'"),
        ("prior=a b", r"^prior: expected a number, true, a list or a word, got a b; quote text"),
        ("seeds=5\nname=3", r"^expected one KEY=VALUE on one line"),
    ],
)
def test_a_setting_that_cannot_be_read(written, said):
    with pytest.raises(VaezooError, match=said):
        parse_setting(written)


def test_no_torch_is_needed():
    code = "import sys, vaezoo.runner.matrix.file; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_pydantic_is_in_one_file():
    """Other files know the tables, but not that they are pydantic models."""
    folder = Path(vaezoo.__file__).parent
    users = [
        path.name
        for path in folder.rglob("*.py")
        if "import pydantic" in (text := path.read_text("utf-8")) or "from pydantic" in text
    ]
    assert users == ["schema.py"]
