"""benchmarks/likelihoods.toml and counts.toml compare likelihoods with all else fixed, and each row can run."""

import runpy
from pathlib import Path

import pytest

from vaezoo.builder import Ingredients, rehearse, resolve
from vaezoo.core.data import DataSpec
from vaezoo.registry import registry
from vaezoo.runner.matrix.file import load, rows

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SPECS = {
    "fashion-mnist": DataSpec((1, 28, 28), "discrete", 256),
    "fashion-mnist-dequantised": DataSpec((1, 28, 28), "continuous", 256),
    "simulated-counts": DataSpec((50,), "counts", context=1),
}


@pytest.mark.parametrize("name", ["likelihoods", "counts"])
def test_a_matrix_compares_likelihoods_with_all_else_fixed_and_each_row_runs(name):
    path = BENCHMARKS / f"{name}.toml"
    matrix = load(path)
    found = rows(matrix)
    own = ("likelihood", "datasets")
    shared = [{k: v for k, v in row.settings().items() if k.split(".")[0] not in own} for row in found]
    assert shared == shared[:1] * len(shared)
    scored = set()
    for row in found:
        for entry in matrix.datasets:
            if row.datasets is None or entry.label in row.datasets:
                spec = SPECS[entry.name]
                slots = resolve(row.variant, spec, row.slots)
                scored.add(slots["likelihood"][0])
                outcome = rehearse(slots, Ingredients.blank(spec, row.latent, [8], 600))
                assert outcome.error is None, (row.label, outcome.error)
    measures = {SPECS[entry.name].measure for entry in matrix.datasets}
    every = {each.name for each in registry("likelihood").values() if measures & set(each.target.measures)}
    assert {each for each in every if registry("likelihood")[each].module.startswith("vaezoo.")} == scored
    short = load(runpy.run_path(str(BENCHMARKS / "short.py"))["short"](path))
    assert [row.label for row in rows(short)] == [row.label for row in found]
    assert all(entry.label.endswith("limit=5000") for entry in short.datasets)
