"""Which edits change the fingerprint of a plugin. Copies of vaezoo and files in temporary folders are edited."""

import shutil
from pathlib import Path

import pytest

import vaezoo
from vaezoo.registry import PARTS, Plugin, registry
from vaezoo.runner.plan import imports
from vaezoo.runner.plan.fingerprint import _code, fingerprint, of_files

HOUSE = Path(vaezoo.__file__).parent


@pytest.fixture
def house(tmp_path) -> Path:
    """A copy of the package's source."""
    shutil.copytree(HOUSE, tmp_path / "vaezoo", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "vaezoo"


def built_in(slot: str, name: str, house: Path) -> str:
    """The fingerprint that a built-in plugin has in a copy of the package."""
    found = registry(slot)[name]
    file = str(house / Path(found.file).relative_to(HOUSE))
    return fingerprint(Plugin(slot, name, found.target, None, found.module, file, found.line), house)


def outside(path: Path, house: Path = HOUSE, module: str = "vaezoo_plugin_mine_01234567") -> str:
    """The fingerprint of a plugin that a file outside registers."""
    return fingerprint(Plugin("prior", "mine", object, None, module, str(path), 1), house)


def edit(path: Path, code: str = "\nEDITED = 1\n") -> None:
    path.write_text(path.read_text(encoding="utf-8") + code, encoding="utf-8")


def changed(house: Path, file: str, slots=PARTS) -> set[str]:
    """The built-in plugins whose fingerprints change with an edit of a file."""
    every = [(slot, name) for slot in slots for name in registry(slot) if registry(slot)[name].module[:7] == "vaezoo."]
    before = {plugin: built_in(*plugin, house) for plugin in every}
    edit(house / file)
    return {"/".join(plugin) for plugin in every if built_in(*plugin, house) != before[plugin]}


def test_a_copy_has_the_fingerprints_of_the_package(house):
    for slot in PARTS:
        for name in registry(slot):
            assert built_in(slot, name, house) == fingerprint(registry(slot)[name])


OTHERS = {"encoder/mlp", "encoder/conv", "encoder/linear", "decoder/mlp", "decoder/conv", "decoder/linear"}
OTHERS |= {"prior/normal", "prior/vampprior", "objective/elbo", "objective/iwae", "objective/beta"}
OTHERS |= {"likelihood/bernoulli", "likelihood/gaussian"}
"""Plugins of which it is known what they use."""


@pytest.mark.parametrize(
    ("file", "users"),
    [
        ("nets/dense.py", {"encoder/mlp", "encoder/conv", "decoder/mlp", "decoder/conv"}),
        ("nets/conv.py", {"encoder/conv", "decoder/conv"}),
        ("nets/masked.py", set()),
        ("nets/__init__.py", set()),
        ("core/bounds.py", {"objective/elbo", "objective/iwae"}),
        ("core/model.py", set()),
        ("priors/vampprior.py", {"prior/vampprior"}),
    ],
)
def test_an_edit_changes_exactly_the_plugins_that_use_the_file(house, file, users):
    """Other plugins that use it may be there, too; those of OTHERS do not."""
    found = changed(house, file)
    assert users <= found
    assert not found & (OTHERS - users)


def test_noise_and_gaussians_are_followed_through_each_other(house):
    users = changed(house, "core/noise.py")
    assert {"posterior/gaussian", "prior/normal", "likelihood/bernoulli"} <= users
    assert not {"encoder/mlp", "objective/elbo"} & users
    assert "likelihood/bernoulli" not in changed(house, "core/gaussian.py")


def test_a_metric_follows_its_own_folder(house):
    found = changed(house, "metrics/_posterior.py", ["metric"])
    assert {"metric/active-units", "metric/collapse"} <= found
    assert not {"metric/likelihood", "metric/ais"} & found


@pytest.mark.parametrize(
    ("source", "follows"),
    [
        ("from vaezoo.nets import dense_stack", {"dense", "linear"}),
        ("from vaezoo.nets.dense import dense_stack", {"dense", "linear"}),
        ("from vaezoo import nets\nf = nets.dense_stack", {"dense", "linear"}),
        ("from vaezoo import nets as n\nf = n.dense.dense_stack", {"dense", "linear"}),
        ("import vaezoo\nf = vaezoo.nets.Linear", {"linear"}),
        ("import vaezoo.nets.linear", {"linear"}),
        ("import vaezoo.nets.conv as c\nf = c.halved", {"conv"}),
        ("from vaezoo import nets", set()),
        ("import vaezoo\nvaezoo.register(vaezoo.__version__)", set()),
        ("def f():\n    from vaezoo.nets import halved", {"conv"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vaezoo.nets import halved", set()),
        ("import vaezoo\nf = vaezoo.DiagonalGaussian", {"gaussian", "noise"}),
        ("from vaezoo import noise\nf = noise.normal", {"noise"}),
        ("import vaezoo\nf = vaezoo.bounds.elbo", {"bounds"}),
        ("from vaezoo.priors.normal import Normal", {"normal", "gaussian", "noise"}),
    ],
)
def test_names_are_followed_to_the_module_that_defines_them(tmp_path, source, follows):
    path = tmp_path / "mine.py"
    path.write_text(source + "\n")
    assert {file.stem for file in imports.Dependencies().of([path]) - {path}} == follows


@pytest.mark.parametrize(
    "source",
    [
        "from vaezoo import flows\nkinds = [getattr(flows, name) for name in flows.__all__]\n",
        "from vaezoo.flows import *\n",
        "from vaezoo import *\n",
        "import vaezoo\nf = getattr(vaezoo, 'flows')\n",
    ],
)
def test_a_package_that_is_handed_on_stands_for_all_of_its_files(tmp_path, source):
    path = tmp_path / "mine.py"
    path.write_text(source)
    found = imports.Dependencies().of([path])
    assert set((HOUSE / "flows").rglob("*.py")) <= found
    assert HOUSE / "nets" / "masked.py" in found  # which a flow uses


# Files outside


def test_neighbours_count_where_they_are_imported(tmp_path):
    (tmp_path / "mine.py").write_text("import helpers\nfrom parts import inner\nfrom parts.deep import f\n")
    (tmp_path / "helpers.py").write_text("import constants\n")
    (tmp_path / "constants.py").write_text("ONE = 1\n")
    (tmp_path / "parts").mkdir()
    for name in ("__init__", "inner", "unused"):
        (tmp_path / "parts" / f"{name}.py").write_text("")
    (tmp_path / "parts" / "deep.py").write_text("import constants\nfrom . import relative\nf = relative\n")
    (tmp_path / "parts" / "relative.py").write_text("")
    (tmp_path / "stranger.py").write_text("")
    found = outside(tmp_path / "mine.py")
    for name in ("stranger.py", "parts/unused.py"):
        edit(tmp_path / name)
        assert outside(tmp_path / "mine.py") == found
    for name in ("helpers", "constants", "parts/__init__", "parts/inner", "parts/deep", "parts/relative"):
        before = outside(tmp_path / "mine.py")
        edit(tmp_path / f"{name}.py", "# only a comment\n")
        assert outside(tmp_path / "mine.py") == before
        edit(tmp_path / f"{name}.py")
        assert outside(tmp_path / "mine.py") != before, name


def test_a_layer_counts_also_behind_a_neighbour(tmp_path, house):
    (tmp_path / "mine.py").write_text("from helpers import stack\n")
    (tmp_path / "helpers.py").write_text("from vaezoo.nets import dense_stack as stack\n")
    before = outside(tmp_path / "mine.py", house)
    edit(house / "nets" / "resnet.py")
    assert outside(tmp_path / "mine.py", house) == before
    edit(house / "nets" / "dense.py")
    assert outside(tmp_path / "mine.py", house) != before


def test_a_fingerprint_does_not_depend_on_the_folder(tmp_path):
    found = []
    for folder, names in (("a", ("one", "two")), ("z", ("two", "one"))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.py").write_text(f"VALUE = {name!r}\n")
        (tmp_path / folder / "mine.py").write_text("import one, two\nfrom vaezoo.nets import halved\n")
        found.append(outside(tmp_path / folder / "mine.py"))
    assert found[0] == found[1]


def test_an_installed_file_has_no_neighbours(tmp_path):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "mine.py").write_text("import torch\n")
    (folder / "torch.py").write_text("")
    before = outside(folder / "mine.py", module="mine")
    edit(folder / "torch.py")
    assert outside(folder / "mine.py", module="mine") == before


# What is no code


METRIC = """
import vaezoo
from vaezoo.core.columns import {names}

@vaezoo.register.metric("mine", paper="a", columns=({columns},))
def mine(model, images, evaluation, *, scale: float = {scale}):
    return {{"mine": scale}}
"""


def test_how_a_table_shows_a_column_is_no_code(tmp_path):
    path = tmp_path / "mine.py"

    def digest(names: str = "Column", columns: str = 'Column("mine")', scale: str = "1.0") -> str:
        path.write_text(METRIC.format(names=names, columns=columns, scale=scale))
        return of_files([path])

    assert digest(columns='Column("mine", "my heading", better=1)') == digest()
    assert digest("Column, standard", '*standard("iwll")') == digest()
    assert digest(scale="2.0") != digest()
    assert digest().isalnum()


def test_a_column_of_another_call_is_code(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("f(columns=1)\n")
    before = of_files([path])
    path.write_text("f(columns=2)\n")
    assert of_files([path]) != before


def test_the_code_has_one_form_in_all_versions_of_python(tmp_path):
    """Python 3.12 writes other quotes, adds type_params, and in some releases an empty text in an f-string."""
    (tmp_path / "file.py").write_text("def f(a):\n    'words'\n    return f'{a[\"x\"]:{a}}' # more\n")
    name = "Name(id='a',ctx=Load())"
    inner = f"FormattedValue(value={name},conversion=-1)"
    item = f"Subscript(value={name},slice=Constant(value='x'),ctx=Load())"
    text = f"FormattedValue(value={item},conversion=-1,format_spec=JoinedStr(values=[{inner}]))"
    body = f"Return(value=JoinedStr(values=[{text}]))"
    expected = f"Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='a')]),body=[{body}])])"
    assert _code(tmp_path / "file.py") == expected
