"""The matrices of benchmarks/ compare one axis with all else fixed, and each of their rows can run."""

import runpy
from pathlib import Path

import pytest

from vaezoo.builder import Ingredients, rehearse, resolve
from vaezoo.core.data import DataSpec
from vaezoo.runner.matrix.file import load, rows

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
AXES = {
    "priors": ("prior",),
    "posteriors": ("posterior",),
    "objectives": ("objective", "train.kl_warmup", "train.kl_cycles"),
    "hierarchies": ("model.latent",),
    "networks": ("encoder", "decoder"),
    "disentangling": ("objective", "decoder"),
}
"""What the rows of each matrix differ in."""
DATA = {"disentangling": "sprites"}
"""The data set of a matrix; MNIST where it is not said."""
SPECS = {
    "mnist-dynamic": DataSpec((1, 28, 28), "binary", None, "dynamic", None),
    "sprites": DataSpec((1, 32, 32), "binary"),
}


@pytest.mark.parametrize("name", AXES)
def test_a_matrix_compares_one_axis_with_all_else_fixed(name):
    matrix = load(BENCHMARKS / f"{name}.toml")
    found = rows(matrix)
    wanted = (name, 3, [DATA.get(name, "mnist-dynamic")])
    assert (matrix.name, len(matrix.seeds), [each.name for each in matrix.datasets]) == wanted
    axes = AXES[name]
    shared = [{k: v for k, v in row.settings().items() if not {k, k.split(".")[0]} & {*axes}} for row in found]
    assert shared == shared[:1] * len(shared)
    assert len(found) > 2


@pytest.mark.parametrize("name", AXES)
def test_every_row_runs_on_two_images(name):
    spec = SPECS[DATA.get(name, "mnist-dynamic")]
    for row in rows(load(BENCHMARKS / f"{name}.toml")):
        slots = resolve(row.variant, spec, row.slots)
        outcome = rehearse(slots, Ingredients.blank(spec, row.latent, [8], 600))
        assert outcome.error is None, (row.label, outcome.error)


@pytest.mark.parametrize("name", AXES)
def test_the_short_form_has_the_same_rows(name):
    path = BENCHMARKS / f"{name}.toml"
    short = load(runpy.run_path(str(BENCHMARKS / "short.py"))["short"](path))
    assert (short.name, len(short.seeds), short.train.epochs) == (f"{name}-short", 1, 20)
    assert [each.label for each in short.datasets] == [f"{DATA.get(name, 'mnist-dynamic')}, limit=5000"]
    assert [row.label for row in rows(short)] == [row.label for row in rows(load(path))]
