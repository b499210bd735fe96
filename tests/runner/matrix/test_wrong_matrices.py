"""A wrong matrix file: each mistake is said in one line, with its place and what to write."""

import re
import sys

import pytest
from matrices import ROW, TOP, message, write

from vaezoo.core.errors import VaezooError
from vaezoo.runner.matrix.file import load

SIZES = "expected a whole number >= 1, or a list of them, one for each latent group, top first"
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
    ("[sweep]\nprior.scale = [1.0]\n", "sweep: 'sweep' belongs in a [[variants]] table; write [variants.sweep] below"),
    ("[train]\nepochs = -3\n", "train.epochs: expected a whole number >= 1, got -3"),
    ("[train]\nepochs = 3.5\n", "train.epochs: expected a whole number >= 1, got 3.5"),
    ("[train]\nepochs = true\n", "train.epochs: expected a whole number >= 1, got true"),
    ("[train]\nepochs = [3]\n", "train.epochs: expected a whole number >= 1, got a list"),
    ('[train]\nepochs = "3"\n', "train.epochs: expected a whole number >= 1, got '3'; write it without the quotes"),
    (f"[train]\nepochs = 1{'0' * 400}\n", "train.epochs: expected a whole number of at most 64 bits, got 1000"),
    (f"[train]\nlearning_rate = 1{'0' * 400}\n", "train.learning_rate: expected a finite number > 0, got 1000"),
    ("[train]\nlearning_rate = 0.0\n", "train.learning_rate: expected a number > 0, got 0.0"),
    ("[train]\nlearning_rate = true\n", "train.learning_rate: expected a number > 0, got true"),
    ("[train]\nlearning_rate = inf\n", "train.learning_rate: expected a finite number > 0, got inf"),
    ("[train]\nkl_warmup = -1\n", "train.kl_warmup: expected a number >= 0, got -1"),
    ("[train]\ngradient_clip = 0\n", "train.gradient_clip: expected a number > 0, got 0"),
    ("[train]\npatience = 0\n", "train.patience: expected a whole number >= 1, got 0"),
    ('[train]\nschedule = "cosin"\n', "expected one of constant, cosine, stages, got 'cosin'; did you mean 'cosine'?"),
    ('[train]\nprecision = "bf16"\n', "train.precision: expected one of float32, tf32, bfloat16, got 'bf16'"),
    ("[model]\nlatent = 0\n", f"model.latent: {SIZES}, got 0"),
    ("[model]\nlatent = []\n", f"model.latent: {SIZES}, got an empty list"),
    ("[model]\nlatent = true\n", f"model.latent: {SIZES}, got true"),
    ('[model]\nlatent = "8"\n', f"model.latent: {SIZES}, got '8'; write it without the quotes"),
    ("[model]\nlatent = [4, 0, 2.0]\n", "model.latent[2]: expected a whole number >= 1, got 0"),
    ("[model]\nlatent = [[4, 8]]\n", "model.latent[1]: expected a whole number >= 1, got a list"),
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
    ("[evaluate]\nmetrics = [{ bins = 3 }]\n", "evaluate.metrics[1].name: is missing; add it"),
    ('[evaluate]\nthroughput = "yes"\n', "evaluate.throughput: expected true or false, got 'yes'"),
    ("seeds = 0\n", "seeds: expected a count of seeds from 1 to 1000 or a list of seeds, got 0"),
    ("pack = 0\n", 'pack: expected "auto" or a whole number >= 1, got 0'),
    ('pack = "2"\n', "pack: expected \"auto\" or a whole number >= 1, got '2'; write it without the quotes"),
    ('seeds = "3"\n', "or a list of seeds, got '3'; write it without the quotes"),
    ("seeds = true\n", "seeds: expected a count of seeds from 1 to 1000 or a list of seeds, got true"),
    ("seeds = 20260101\n", "or a list of seeds, got 20260101; write [20260101]"),
    ("seeds = []\n", "seeds: expected at least one, got an empty list"),
    ("seeds = [1, 2, 1]\n", "seeds: expected distinct seeds, got 1 twice; remove one"),
    ("seeds = [-1]\n", "seeds[1]: expected a whole number >= 0, got -1"),
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
    (
        "[references]\niwll = 3\n",
        "references: expected [[references]] tables, got a table; write [[references]], in two pairs of brackets",
    ),
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
    ("sweep.model.latent = [[4, 0], 3]\n", "variants[1].sweep.model.latent[2]: expected a whole number >= 1, got 0"),
    ("sweep.train.epoch = [5]\n", "variants[1].sweep.train.epoch is not a key; did you mean 'epochs'?"),
    ("sweep.train = [5]\n", "variants[1].sweep.train: expected train.epochs = [...], got train = [...]"),
    ("sweep.train.epochs.x = [5]\n", "variants[1].sweep.train.epochs: expected a whole number >= 1, got a table"),
    ("sweep.prior.a.b = [5]\n", "expected prior.NAME = [...], got prior.a.b = [...]; sweep one setting a key"),
    ("sweep.train.learning_rate = [nan]\n", "variants[1].sweep.train.learning_rate: expected a finite number > 0"),
    ("sweep.latent = [5]\n", "variants[1].sweep.latent: 'latent' belongs under model; write model.latent = [...]"),
    ("sweep.seeds = [5]\n", "variants[1].sweep.seeds: 'seeds' belongs at the top"),
    ("sweep.prio = [5]\n", "variants[1].sweep.prio is not a key; did you mean 'prior' or 'posterior'?"),
    ("sweep.priors = ['normal']\n", "variants[1].sweep.priors is not a key; did you mean 'prior' or 'posterior'?"),
    ("sweep.prior = 'normal'\n", "variants[1].sweep.prior: expected a list of one or more values, got 'normal'; write"),
    ("sweep.prior = ['a', {name = 3}]\n", "variants[1].sweep.prior.name: expected text in quotes"),
    ("sweep.prior = ['a', ['b']]\n", "variants[1].sweep.prior: expected a name or a table"),
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
    lines = str(caught.value).splitlines()
    assert all(line.startswith("m.toml: ") for line in lines)
    assert len({line.partition(": expected")[0] for line in lines}) == len(lines)
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
    expected = r"variants: expected \[\[variants\]\] tables, got a table; write \[\[variants\]\]"
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
        ("name = vae\n", r"line 1, column 8: invalid value; write text in quotes"),
        ("seeds = 1\nseeds = 2\n", r"line 2, column \d+: cannot overwrite a value; a key or a table is given twice"),
        ("seeds = 1\nseeds = 2", r"line 2, column 10: cannot overwrite a value; a key or a table is given twice"),
        ("[train]\n[train]\n", r"line 2, column \d+: cannot declare .*; a table is given twice"),
        ("model = {}\n[model.prior]\n", r"line 2, column \d+: .*"),
        ("seeds = [1 2]\n", r"line 1, column 12: unclosed array; a comma between two values is missing"),
        (
            "model = { latent = 3 hidden = [4] }\n",
            r"line 1, column 22: unclosed inline table; a comma between two keys",
        ),
        ("model = { latent = [3, }\n", r"line 1, column 20: \[ is never closed; a closing \] is missing"),
    ],
)
def test_other_errors_of_toml_say_where(tmp_path, source, said):
    with pytest.raises(VaezooError, match=rf"^m\.toml: {said}"):
        load(write(tmp_path, source))


@pytest.mark.parametrize(
    ("lines", "place", "said"),
    [
        ("x = [\n", "line 2, column 5", "[ is never closed; a closing ] is missing"),
        ('x = [\n1, # ]\n"]"\n', "line 2, column 5", "[ is never closed; a closing ] is missing"),
        ("x = [[1, 2], [3\n]\n", "line 2, column 5", "[ is never closed; a closing ] is missing"),
        ("model.hidden = [300,\nseeds = 3\n", "line 2, column 16", "[ is never closed; a closing ] is missing"),
        ("x = { a = 1\n", "line 2, column 5", "{ is never closed; a closing } is missing"),
        ("x = {\n", "line 2, column 5", "{ is never closed; a closing } is missing"),
        ("x = [{ a = 1 ]\n", "line 2, column 6", "{ is never closed; a closing } is missing"),
        ('x = "a # b\n', "line 2, column 5", '" is never closed; a closing " is missing'),
        ('x = ["a", "b]\n', "line 2, column 11", '" is never closed; a closing " is missing'),
        ("x = 'a\n", "line 2, column 5", "' is never closed; a closing ' is missing"),
        ('x = """a\n\n"\n', "line 2, column 5", '""" is never closed; a closing """ is missing'),
        ("[train\nepochs = 3\n", "line 2, column 1", "[ is never closed; write [train]"),
        ('[[variants]\nname = "a"\n', "line 2, column 1", "[[ is never closed; write [[variants]]"),
        ("  [[variants\n", "line 2, column 3", "[[ is never closed; write [[variants]]"),
    ],
)
@pytest.mark.parametrize("rest", ["", ROW, "[train]\nepochs = 3\n" + ROW])
def test_a_bracket_that_is_never_closed(tmp_path, lines, place, said, rest):
    with pytest.raises(VaezooError, match=f"^m\\.toml: {re.escape(f'{place}: {said}')}$"):
        load(write(tmp_path, TOP + lines + rest))


@pytest.mark.parametrize("closed", ['x = [\n["a = [", 1], # [\n]\n', "x = '''\n[\ny = {'''\n", 'x = "\\"["\n'])
def test_a_closed_bracket_is_not_blamed_for_a_later_mistake(tmp_path, closed):
    row = len((TOP + closed).splitlines()) + 1
    with pytest.raises(VaezooError, match=rf"^m\.toml: line {row}, column 5: invalid value; write text in quotes"):
        load(write(tmp_path, TOP + closed + "z = it's\n" + ROW))


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="TOML 1.1 allows it")
def test_an_inline_table_with_a_comma_at_its_end(tmp_path):
    with pytest.raises(VaezooError, match="an inline table does not end with a comma; remove it"):
        load(write(tmp_path, TOP + ROW + 'prior = { name = "x", }\n'))


def test_a_file_that_is_not_there(tmp_path):
    path = write(tmp_path, TOP + ROW)
    with pytest.raises(VaezooError, match=r"mm\.toml does not exist; did you mean 'm\.toml'\?"):
        load(path.with_name("mm.toml"))
    for name in ("quite-else", "abc.toml", "m.json"):
        with pytest.raises(VaezooError, match=rf"{name} does not exist; no \.toml file in .* has a similar name$"):
            load(str(tmp_path / name))
    with pytest.raises(VaezooError, match=r"does not exist; there is no folder .*nowhere$"):
        load(tmp_path / "nowhere" / "m.toml")
    with pytest.raises(VaezooError, match=r"is a folder; give a matrix file in it: m\.toml$"):
        load(tmp_path)
    path.unlink()
    with pytest.raises(VaezooError, match=r"m\.toml does not exist; there is no \.toml file in "):
        load(path)
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
