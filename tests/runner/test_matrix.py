"""The matrix file: what its rows are, and what is said of a wrong one."""

import json
import random
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

import vaezoo
from vaezoo.core.errors import VaezooError
from vaezoo.registry import PARTS
from vaezoo.runner.matrix import DatasetEntry, Evaluate, Matrix, MetricEntry, Train, load, parse_setting, rows

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
TOP = 'datasets = ["d"]\n'
ROW = '[[variants]]\nname = "vae"\n'


def write(folder: Path, source: str) -> Path:
    path = folder / "m.toml"
    path.write_text(source, encoding="utf-8")
    return path


def message(source) -> str:
    with pytest.raises(VaezooError) as caught:
        load(source)
    return str(caught.value)


def attempt(source) -> tuple[Matrix | None, str]:
    try:
        return load(source), ""
    except VaezooError as error:
        return None, str(error)


def variants(*tables: dict, **top) -> Matrix:
    return load({"datasets": ["d"], "variants": list(tables), **top})


def labels(*tables: dict, **top) -> list[str]:
    return [row.label for row in rows(variants(*tables, **top))]


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
    assert (matrix.name, matrix.seeds, matrix.datasets) == ("mnist-priors", [0, 1, 2], [DatasetEntry("mnist-dynamic")])
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
    assert row.train.model_dump() == {
        "epochs": 100,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "kl_warmup": 0,
        "gradient_clip": None,
        "patience": None,
        "validation_images": None,
        "compile": None,
        "precision": "float32",
    }
    assert row.evaluate == Evaluate(importance_samples=1000, images=None, metrics=[], throughput=True)
    assert row.train == Train()


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
    assert matrix.evaluate.metrics == [MetricEntry("fid"), MetricEntry("mig", {"bins": 20})]
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


# Rows


def test_a_sweep_is_the_product_in_the_order_written():
    betas, sizes, rates = [4, 1, 2.5], [10, 40], [1e-3, 1e-4]
    sweep = {"train": {"learning_rate": rates}, "objective": {"beta": betas}, "model": {"latent": sizes}}
    found = rows(variants({"name": "vae", "sweep": sweep}))
    got = [(row.train.learning_rate, row.slots["objective"][1]["beta"], row.latent) for row in found]
    assert got == list(product(rates, betas, sizes))
    dotted = {"train.learning_rate": rates, "objective.beta": betas, "model.latent": sizes}
    assert rows(variants({"name": "vae", "sweep": dotted})) == found


def test_a_sweep_runs_over_parts_and_their_hyper_parameters():
    priors = ["normal", {"name": "vampprior", "components": 3}, {"name": "vampprior", "components": 5}]
    found = rows(variants({"name": "vae", "sweep": {"prior": priors}}))
    expected = [("normal", {}), ("vampprior", {"components": 3}), ("vampprior", {"components": 5})]
    assert [row.slots["prior"] for row in found] == expected
    assert [row.label for row in found] == [
        "vae, prior=normal",
        "vae, prior=vampprior, components=3",
        "vae, prior=vampprior, components=5",
    ]
    assert rows(variants({"name": "vae", "sweep": {"model": {"prior": priors}}})) == found
    named = rows(variants({"name": "vae", "sweep": {"prior": {"components": [3, 5], "name": ["a", "b"]}}}))
    assert [row.slots["prior"] for row in named] == [(n, {"components": c}) for c in (3, 5) for n in ("a", "b")]


@pytest.mark.parametrize("part", PARTS)
def test_overrides_of_a_slot_are_layered(part):
    base = {part: {"name": "one", "a": 1, "b": 2}}

    def slot(row: dict, model: dict = base):
        return rows(variants({"name": "vae", **row}, model=model))[0].slots.get(part)

    assert slot({}) == ("one", {"a": 1, "b": 2})
    assert slot({part: {"b": 3}}) == ("one", {"a": 1, "b": 3})
    assert slot({part: {"name": "one", "b": 3}}) == ("one", {"a": 1, "b": 3})
    assert slot({part: "two"}) == ("two", {})
    assert slot({part: {"name": "two", "c": 4}}) == ("two", {"c": 4})
    assert slot({"model": {part: "two"}}) == ("two", {})
    assert slot({part: "two", "sweep": {part: {"c": [5]}}}) == ("two", {"c": 5})
    assert slot({part: {"b": 3}, "sweep": {part: ["two"]}}) == ("two", {})
    assert slot({part: {"a": 2}}, {part: {"b": 1}}) == (None, {"a": 2, "b": 1})
    assert slot({part: "two"}, {part: {"b": 1}}) == ("two", {})
    assert slot({}, {}) is None
    assert slot({part: {}}, {}) is None


def test_overrides_of_a_row_leave_the_other_settings():
    row = {"name": "vae", "train": {"epochs": 9}, "model": {"latent": 3}, "evaluate": {"images": 5, "metrics": ["b"]}}
    (found,) = rows(variants(row, train={"batch_size": 7}, model={"hidden": [8]}, evaluate={"metrics": ["a"]}))
    assert (found.train.epochs, found.train.batch_size) == (9, 7)
    assert (found.latent, found.hidden) == (3, [8])
    assert (found.evaluate.images, found.evaluate.metrics) == (5, [MetricEntry("b")])


def test_rows_share_nothing_that_can_be_changed():
    matrix = variants({"name": "vae", "prior": {"widths": [1, 2]}}, {"name": "beta-vae", "prior": {"widths": [1, 2]}})
    before = rows(matrix)
    rows(matrix)[0].slots["prior"][1]["components"] = 3
    rows(matrix)[0].slots["prior"][1]["widths"].append(3)
    assert rows(matrix) == before


# Labels


def test_labels_say_what_differs_and_no_more():
    assert labels({"name": "vae"}, {"name": "vae", "prior": {"name": "vampprior", "components": 500}}) == [
        "vae",
        "vae, prior=vampprior, components=500",
    ]
    assert labels({"name": "vae", "prior": "flow"}, {"name": "beta-vae", "prior": "flow"}) == ["vae", "beta-vae"]
    assert labels({"name": "vae", "sweep": {"train": {"learning_rate": [1e-3, 0.00025]}}}) == [
        "vae, learning_rate=0.001",
        "vae, learning_rate=0.00025",
    ]
    assert labels({"name": "vae", "sweep": {"model": {"hidden": [[], [300, 300]]}}}) == [
        "vae, hidden=[]",
        "vae, hidden=[300, 300]",
    ]
    assert labels({"name": "vae"}, {"name": "vae", "train": {"gradient_clip": 1}}) == ["vae", "vae, gradient_clip=1"]


def test_a_short_key_that_two_settings_share_is_written_out():
    sweep = {"prior": {"components": [1, 2]}, "posterior": {"components": [3, 4]}}
    assert labels({"name": "vae", "sweep": sweep})[0] == "vae, posterior.components=3, prior.components=1"


def test_an_explicit_label_is_kept_and_a_sweep_adds_to_it():
    sweep = {"objective": {"beta": [1, 4]}, "model": {"latent": [10]}}
    assert labels({"name": "vae", "label": "Ours", "sweep": sweep}) == ["Ours, beta=1", "Ours, beta=4"]
    assert labels({"name": "vae", "label": "Ours", "sweep": {"objective.beta": [1]}}) == ["Ours"]


def test_values_that_look_the_same_are_told_apart():
    for values in ([1, 1.0000001], [4, "4"], [True, 1], [True, "true"], [10**6, 10**6 + 1], [None, "null"]):
        found = labels({"name": "vae", "sweep": {"prior": {"a": values}}})
        assert len(set(found)) == 2, found
    assert len(set(labels({"name": "vae"}, {"name": "vae", "prior": {"a": None}}))) == 2


def test_labels_are_unique_over_random_matrices():
    draw = random.Random(0)
    values = [1, 2, 0.5, 1e-7, "a", "b", True, [1, 2], {"k": 1}]

    def part():
        table = {key: draw.choice(values) for key in draw.sample("abc", draw.randint(0, 2))}
        return draw.choice(["normal", "flow", {"name": draw.choice(["normal", "flow"]), **table}, table])

    def sweep():
        table = {"prior.a": values, "posterior.a": values, "model.latent": [1, 2, 3], "train.epochs": [5, 6, 100]}
        return {
            key: draw.sample(table[key], draw.randint(1, 3)) for key in draw.sample(list(table), draw.randint(0, 3))
        }

    def row():
        table = {"name": draw.choice(["vae", "beta-vae"]), "sweep": sweep()}
        table |= {slot: part() for slot in draw.sample(PARTS, draw.randint(0, 2))}
        return table | ({"label": draw.choice(["x", "y", "z"])} if draw.random() < 0.2 else {})

    good = 0
    for _ in range(300):
        tables = [row() for _ in range(draw.randint(1, 4))]
        source = {"datasets": ["d"], "variants": tables, "model": {"prior": part()}}
        matrix, said = attempt(source)
        if matrix is None:
            assert re.search("are the same row|have the same label", said)
            continue
        good += 1
        found = rows(matrix)
        sizes = [len(list(product(*table["sweep"].values()))) for table in tables]
        assert len({row.label for row in found}) == len(found) == sum(sizes)
        assert [row.place for row in found] == [
            f"variants[{i + 1}]" for i, size in enumerate(sizes) for _ in range(size)
        ]
        assert all(row.label.startswith((row.variant, "x", "y", "z")) for row in found)
        assert rows(load(json.loads(json.dumps(matrix.dump())))) == found
    assert good > 150


def test_equal_rows_are_refused_and_both_named():
    sweep = {"model": {"latent": [5, 20]}}
    with pytest.raises(VaezooError, match=r"^variants\[1\] and variants\[3\] are the same row, 'vae' .*; remove one"):
        variants({"name": "vae"}, {"name": "beta-vae"}, {"name": "vae", "sweep": sweep})
    with pytest.raises(VaezooError, match=r"variants\[1\] and variants\[2\] are the same row"):
        variants({"name": "vae", "label": "a"}, {"name": "vae", "label": "b", "train": {"epochs": 100}})
    with pytest.raises(VaezooError, match=r"are the same row.*a value stands twice in its sweep"):
        variants({"name": "vae", "sweep": {"objective": {"beta": [1, 1.0]}}})


def test_equal_labels_are_refused():
    with pytest.raises(
        VaezooError, match=r"^variants\[1\] and variants\[2\] have the same label 'a'; give one of them"
    ):
        variants({"name": "vae", "label": "a"}, {"name": "beta-vae", "label": "a"})
    with pytest.raises(VaezooError, match="have the same label 'vae'"):
        variants({"name": "vae"}, {"name": "beta-vae", "label": "vae"})


# What is said of a wrong file

WRONG = [
    ("[train]\nepoch = 3\n", "train.epoch is not a key; did you mean 'epochs'?"),
    ("[train]\nzzz = 3\n", "train.zzz is not a key; there are: batch_size, compile, epochs, "),
    ("sedes = 3\n", "sedes is not a key; did you mean 'seeds'?"),
    ("[train]\nseeds = 3\n", "train.seeds: 'seeds' belongs at the top; move it above the first [table]"),
    ("[evaluate]\ntimeout = 3\n", "evaluate.timeout: 'timeout' belongs at the top; move it above the first [table]"),
    ("[train.model]\nlatent = 3\n", "train.model: 'model' belongs at the top; write [model]"),
    ("[[train.references]]\niwll = 3\n", "train.references: 'references' belongs at the top; write [[references]]"),
    ("[model]\nbatch_size = 3\n", "model.batch_size: 'batch_size' belongs under [train]; move it there"),
    ("[train]\nlatent = 3\n", "train.latent: 'latent' belongs under [model]; move it there"),
    ("importance_samples = 3\n", "importance_samples: 'importance_samples' belongs under [evaluate]; move it there"),
    ('prior = "flow"\n', "prior: 'prior' belongs under [model]; move it there"),
    ("iwll = 3\n", "iwll: 'iwll' belongs under [[references]]; move it there"),
    ('label = "x"\n', "label: 'label' belongs under [[variants]]; move it there"),
    ("[train]\nepochs = -3\n", "train.epochs: expected a whole number >= 1, got -3"),
    ("[train]\nepochs = 3.5\n", "train.epochs: expected a whole number >= 1, got 3.5"),
    ("[train]\nepochs = true\n", "train.epochs: expected a whole number >= 1, got true"),
    ("[train]\nepochs = [3]\n", "train.epochs: expected a whole number >= 1, got a list"),
    ('[train]\nepochs = "3"\n', "train.epochs: expected a whole number >= 1, got '3'; write it without the quotes"),
    (f"[train]\nepochs = 1{'0' * 400}\n", "train.epochs: expected a whole finite number >= 1, got 1000"),
    ("[train]\nlearning_rate = 0.0\n", "train.learning_rate: expected a number > 0, got 0.0"),
    ("[train]\nlearning_rate = true\n", "train.learning_rate: expected a number > 0, got true"),
    ("[train]\nlearning_rate = inf\n", "train.learning_rate: expected a finite number > 0, got inf"),
    ("[train]\nkl_warmup = -1\n", "train.kl_warmup: expected a number >= 0, got -1"),
    ("[train]\ngradient_clip = 0\n", "train.gradient_clip: expected a number > 0, got 0"),
    ("[train]\npatience = 0\n", "train.patience: expected a whole number >= 1, got 0"),
    ('[train]\nschedule = "cosin"\n', "expected one of constant, cosine, stages, got 'cosin'; did you mean 'cosine'?"),
    ('[train]\nprecision = "bf16"\n', "train.precision: expected one of float32, tf32, bfloat16, got 'bf16'"),
    ("[model]\nlatent = 0\n", "model.latent: expected a whole number >= 1, got 0"),
    ("[model]\nhidden = 300\n", "model.hidden: expected a list, got 300; write [300]"),
    ("[model]\nhidden = [300, 0]\n", "model.hidden[2]: expected a whole number >= 1, got 0"),
    ("[model]\nallow_pseudo_likelihood = 1\n", "model.allow_pseudo_likelihood: expected true or false, got 1"),
    ("[model]\nprior = 3\n", 'model.prior: expected a name or a table { name = "...", option = ... }, got 3'),
    ("[model.prior]\nname = 3\n", "model.prior.name: expected text in quotes, on one line and not empty, got 3"),
    ("[model.prior]\na.b = [1, 2020-01-01]\n", "model.prior.a.b[2]: expected text, a finite number, true, false"),
    (
        "[model.prior]\na = nan\n",
        "model.prior.a: expected text, a finite number, true, false, a list or a table, got nan",
    ),
    ("[[model]]\nlatent = 3\n", "model: expected a table, got a list; write [model], in one pair of brackets"),
    ("train = 3\n", "train: expected a table, got 3"),
    ("[evaluate]\nmetrics = [3]\n", "evaluate.metrics[1]: expected a name or a table"),
    ("[evaluate]\nmetrics = [{ bins = 3 }]\n", "evaluate.metrics[1].name: expected text in quotes"),
    ('[evaluate]\nthroughput = "yes"\n', "evaluate.throughput: expected true or false, got 'yes'"),
    ("seeds = 0\n", "seeds: expected a count of seeds from 1 to 1000 or a list of seeds, got 0"),
    ("seeds = true\n", "seeds: expected a count of seeds from 1 to 1000 or a list of seeds, got true"),
    ("seeds = 20260101\n", "or a list of seeds, got 20260101; for the one seed 20260101 write [20260101]"),
    ("seeds = []\n", "seeds: expected at least one seed, got an empty list"),
    ("seeds = [1, 2, 1]\n", "seeds: expected distinct seeds, got 1 twice; remove one"),
    ("seeds = [-1]\n", "seeds: expected a whole number >= 0, got -1"),
    ("timeout = 0\n", "timeout: expected a number > 0, got 0"),
    ("plugins = [3]\n", "plugins[1]: expected text in quotes, on one line and not empty, got 3"),
    ('plugins = "a.py"\n', "plugins: expected a list, got 'a.py'; write [\"a.py\"]"),
    ('name = "My Matrix"\n', "got 'My Matrix'; write name = \"my-matrix\" above the first [table]"),
    (
        'name = ".."\n',
        "name: expected lower-case letters, digits, '.', '_' and '-', the first a letter or digit, got '..'",
    ),
    ("[[references]]\n", "references[1].label: is missing; add it"),
    (
        '[[references]]\nlabel = "x"\ndataset = "d"\n',
        "references[1]: expected at least one number, got none; add one of",
    ),
    (
        '[[references]]\nlabel = "x"\ndataset = "d"\niwll = nan\n',
        "references[1].iwll: expected a finite number, got nan",
    ),
    (
        '[[references]]\nlabel = "x"\ndataset = "dd"\niwll = 1\n',
        "references[1].dataset: expected one of this matrix's datasets, got 'dd'; did you mean 'd'?",
    ),
    ('[[references]]\nname = "x"\n', "references[1].name is not a key; there are: "),
    ("[references]\niwll = 3\n", "references: expected [[references]] tables, got one [references] table"),
]
WRONG_ROWS = [
    ("prio = 3\n", "variants[1].prio is not a key; did you mean 'prior' or 'posterior'?"),
    ("seeds = 3\n", "variants[1].seeds: 'seeds' belongs at the top; move it above the first [table]"),
    ("epochs = 3\n", "variants[1].epochs: 'epochs' belongs under [variants.train]; move it there"),
    ("[variants.train]\nimages = 3\n", "variants[1].train.images: 'images' belongs under [variants.evaluate]"),
    (
        '[variants.train]\nlabel = "x"\n',
        "variants[1].train.label: 'label' belongs in [[variants]] itself; move it above",
    ),
    ('label = ""\n', "variants[1].label: expected text in quotes, on one line and not empty, got ''"),
    ("train = { epochs = 0 }\n", "variants[1].train.epochs: expected a whole number >= 1, got 0"),
    ('prior = "a"\nmodel = { prior = "b" }\n', "variants[1].prior: expected once, got a second one in model.prior"),
    ("sweep = 3\n", "variants[1].sweep: expected a table, got 3"),
    ("sweep.train.epochs = [5, -1]\n", "variants[1].sweep.train.epochs: expected a whole number >= 1, got -1"),
    ("sweep.train.epoch = [5]\n", "variants[1].sweep.train.epoch is not a key; did you mean 'epochs'?"),
    ("sweep.train = [5]\n", "variants[1].sweep.train: expected train.epochs = [...], got train = [...]"),
    (
        "sweep.train.epochs.x = [5]\n",
        "expected train.epochs = [...], got train.epochs.x = [...]; sweep one setting a key",
    ),
    ("sweep.latent = [5]\n", "variants[1].sweep.latent: 'latent' belongs under model; write model.latent = [...]"),
    ("sweep.seeds = [5]\n", "variants[1].sweep.seeds: 'seeds' belongs at the top"),
    ("sweep.prio = [5]\n", "variants[1].sweep.prio is not a key; did you mean 'prior' or 'posterior'?"),
    ("sweep.prior = [5]\n", "variants[1].sweep.prior: expected a name or a table"),
    ("sweep.prior.name = [5]\n", "variants[1].sweep.prior.name: expected text in quotes"),
    ("sweep.model.prior = [5]\n", "variants[1].sweep.model.prior: expected a name or a table"),
    ("sweep.prior.a = [1, nan]\n", "variants[1].sweep.prior.a[2]: expected text, a finite number"),
    ("sweep.prior.a = 4\n", "variants[1].sweep.prior.a: expected a list of one or more values, got 4; write [4]"),
    ("sweep.prior.a = []\n", "variants[1].sweep.prior.a: expected a list of one or more values, got an empty list"),
    ('sweep.prior = ["a"]\nsweep.model.prior = ["b"]\n', "variants[1].sweep.model.prior: expected each setting once"),
]


@pytest.mark.parametrize(("lines", "said"), WRONG, ids=[said[:60] for _, said in WRONG])
def test_a_wrong_top_or_table(tmp_path, lines, said):
    with pytest.raises(VaezooError, match=r"(?m)^m\.toml: .*" + re.escape(said)) as caught:
        load(write(tmp_path, TOP + lines + ROW))
    assert all(line.startswith("m.toml: ") for line in str(caught.value).splitlines())
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(("lines", "said"), WRONG_ROWS, ids=[said[:60] for _, said in WRONG_ROWS])
def test_a_wrong_row(tmp_path, lines, said):
    with pytest.raises(VaezooError, match=r"^m\.toml: variants\[1\]\..*" + re.escape(said.split("].", 1)[-1])):
        load(write(tmp_path, TOP + ROW + lines))


def test_the_place_in_a_list_counts_from_one(tmp_path):
    said = message(write(tmp_path, TOP + ROW + ROW + "prior = 3\n"))
    assert said.startswith("m.toml: variants[2].prior: expected a name")


def test_every_error_is_said_at_once(tmp_path):
    said = message(
        write(tmp_path, "seeds = 0\n[train]\nepoch = 1\nbatch_size = 0\n" + ROW + "sweep.train.epochs = [0]\n")
    )
    starts = ["datasets: is missing; name at least one", "seeds: ", "train.batch_size: ", "train.epoch is not a key"]
    assert len(said.splitlines()) == 5
    for start in [*starts, "variants[1].sweep.train.epochs: "]:
        assert f"m.toml: {start}" in said
    later = '[[references]]\nlabel = "x"\ndataset = "e"\niwll = 1\n'
    assert len(message(write(tmp_path, TOP + ROW + ROW + later)).splitlines()) == 2


def test_an_error_in_a_dict_has_no_file():
    said = message({"datasets": ["d"], "variants": [{"name": "vae", "train": {"epochs": 0}}]})
    assert said == "variants[1].train.epochs: expected a whole number >= 1, got 0"
    assert message({"datasets": ["d"], "variants": [{"name": "vae", "train": {3: 0}}]}).startswith(
        "variants[1].train.3 is"
    )


def test_datasets_and_variants_that_are_not_there(tmp_path):
    assert "datasets: is missing; name at least one" in message(write(tmp_path, ROW))
    assert "datasets: expected at least one, got an empty list" in message(write(tmp_path, "datasets = []\n" + ROW))
    assert "datasets: expected a list, got 'd'; write [\"d\"]" in message(write(tmp_path, 'datasets = "d"\n' + ROW))
    assert "variants: is missing; write one [[variants]] table for each row" in message(write(tmp_path, TOP))
    assert "variants: expected at least one" in message(write(tmp_path, "variants = []\n" + TOP))
    assert "variants[1].name: is missing; every [[variants]]" in message(write(tmp_path, TOP + "[[variants]]\n"))
    assert "datasets[2]: expected each dataset once, got 'd' twice" in message(
        write(tmp_path, 'datasets = ["d", "d", { name = "d", labels = true }]\n' + ROW)
    )


def test_variants_as_one_table(tmp_path):
    expected = r"variants: expected \[\[variants\]\] tables, got one \[variants\] table; write \[\[variants\]\]"
    with pytest.raises(VaezooError, match=expected):
        load(write(tmp_path, TOP + '[variants]\nname = "vae"\n'))
    with pytest.raises(VaezooError, match=r"line 4, column \d+: \[variants\] and \[\[variants\]\] are mixed"):
        load(write(tmp_path, TOP + '[variants]\nname = "vae"\n' + ROW))


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="TOML 1.1 allows an inline table over several lines")
@pytest.mark.parametrize(
    ("source", "place", "table"),
    [
        (TOP + ROW + 'prior = { name = "x",\n  components = 500 }\n', "line 4, column 22", "[variants.prior]"),
        (TOP + ROW + 'prior = {\n  name = "x" }\n', "line 4, column 10", "[variants.prior]"),
        (TOP + ROW + 'prior = { name = "}{",  # why\n  components = 500 }\n', "line 4", "[variants.prior]"),
        (TOP + ROW + 'prior = { name = "x"\n}\n', "line 4", "[variants.prior]"),
        (TOP + '[model]\nprior = { name = "x", a = [1,\n2],\n b = 3 }\n' + ROW, "line 4", "[model.prior]"),
        (TOP + "model = {\n latent = 3 }\n" + ROW, "line 2", "[model]"),
    ],
)
def test_an_inline_table_over_several_lines(tmp_path, source, place, table):
    expected = rf"^m\.toml: {place}.*: an inline table .* stands on one line; write a sub-table {re.escape(table)} "
    with pytest.raises(VaezooError, match=expected):
        load(write(tmp_path, source))
    with pytest.raises(VaezooError, match=expected):
        load(write(tmp_path, source.replace("\n", "\r\n")))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("name = vae\n", r"line 1, column 8: invalid value; text stands in quotes"),
        ("seeds = 1\nseeds = 2\n", r"line 2, column \d+: cannot overwrite a value; a key or a table is given twice"),
        ("seeds = 1\nseeds = 2", r"line 2, column 10: cannot overwrite a value; a key or a table is given twice"),
        ("[train]\n[train]\n", r"line 2, column \d+: cannot declare .*; a table is given twice"),
        ("model = {}\n[model.prior]\n", r"line 2, column \d+: .*"),
        ('datasets = ["d"\n', r"line 2, column 1: unclosed array; a closing \] is missing"),
        ("model = { latent = 3", r"line 1, column 21: unclosed inline table; a closing } or a comma is missing"),
        ("[train\n", r"line 1, column 7: expected .*"),
    ],
)
def test_other_errors_of_toml_say_where(tmp_path, source, said):
    with pytest.raises(VaezooError, match=rf"^m\.toml: {said}"):
        load(write(tmp_path, source))


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="TOML 1.1 allows it")
def test_an_inline_table_with_a_comma_at_its_end(tmp_path):
    with pytest.raises(VaezooError, match="an inline table does not end with a comma; remove it"):
        load(write(tmp_path, TOP + ROW + 'prior = { name = "x", }\n'))


def test_a_file_that_is_not_there(tmp_path):
    path = write(tmp_path, TOP + ROW)
    with pytest.raises(VaezooError, match=r"mm\.toml does not exist; did you mean 'm\.toml'\?"):
        load(path.with_name("mm.toml"))
    with pytest.raises(VaezooError, match=r"quite-else does not exist; there are: m\.toml"):
        load(str(tmp_path / "quite-else"))
    with pytest.raises(VaezooError, match=r"does not exist; there is no \.toml file in "):
        load(tmp_path / "nowhere" / "m.toml")
    with pytest.raises(VaezooError, match=r"is a folder; give a matrix file in it: m\.toml$"):
        load(tmp_path)
    path.unlink()
    with pytest.raises(VaezooError, match=r"is a folder; give a matrix file$"):
        load(tmp_path)


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "m.toml"
    path.write_bytes(b'datasets = ["d"]\nname = "caf\xe9"\n')
    with pytest.raises(VaezooError, match=r"^m\.toml: line 2 is not UTF-8 text; save the file as UTF-8"):
        load(path)


def test_a_file_whose_name_is_no_name(tmp_path):
    path = write(tmp_path, TOP + ROW).rename(tmp_path / "My Matrix.toml")
    with pytest.raises(VaezooError, match=r"^My Matrix\.toml: name: .*write name = \"my-matrix\""):
        load(path)


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
    code = "import sys, vaezoo.runner.matrix; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_pydantic_is_in_one_file():
    """What the tables are made with stays their own affair."""
    folder = Path(vaezoo.__file__).parent
    users = [
        path.name
        for path in folder.rglob("*.py")
        if "import pydantic" in (text := path.read_text("utf-8")) or "from pydantic" in text
    ]
    assert users == ["matrix_tables.py"]
