"""The matrices of benchmarks/ compare one axis with all else fixed, and each of their rows can run."""

import runpy
from pathlib import Path

import pytest

from vaezoo.builder import Ingredients, rehearse, resolve
from vaezoo.core.data import DataSpec
from vaezoo.runner.matrix.file import load, rows

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
AXES = {"priors": "prior", "posteriors": "posterior", "objectives": "objective", "hierarchies": "model.latent"}
MNIST = DataSpec((1, 28, 28), "binary", None, "dynamic", None)


@pytest.mark.parametrize("name", AXES)
def test_a_matrix_compares_one_axis_with_all_else_fixed(name):
    matrix = load(BENCHMARKS / f"{name}.toml")
    found = rows(matrix)
    assert (matrix.name, len(matrix.seeds), [each.name for each in matrix.datasets]) == (name, 3, ["mnist-dynamic"])
    beside = (AXES[name], "train.kl_warmup", "train.kl_cycles") if name == "objectives" else (AXES[name],)
    shared = [{k: v for k, v in row.settings().items() if not {k, k.split(".")[0]} & {*beside}} for row in found]
    assert shared == shared[:1] * len(shared)
    assert len(found) > 2


@pytest.mark.parametrize("name", AXES)
def test_every_row_runs_on_two_images(name):
    for row in rows(load(BENCHMARKS / f"{name}.toml")):
        slots = resolve(row.variant, MNIST, row.slots)
        outcome = rehearse(slots, Ingredients.blank(MNIST, row.latent, [8], 600))
        assert outcome.error is None, (row.label, outcome.error)


@pytest.mark.parametrize("name", AXES)
def test_the_short_form_has_the_same_rows(name):
    path = BENCHMARKS / f"{name}.toml"
    short = load(runpy.run_path(str(BENCHMARKS / "short.py"))["short"](path))
    assert (short.name, len(short.seeds), short.train.epochs) == (f"{name}-short", 1, 20)
    assert [each.label for each in short.datasets] == ["mnist-dynamic, limit=5000"]
    assert [row.label for row in rows(short)] == [row.label for row in rows(load(path))]
