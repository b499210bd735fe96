"""A cell's precision: from the matrix file to its record, its table and the model that is loaded again."""

import json
import math
import re

import pandas
import pytest
import torch

import vaezoo
from vaezoo.api import plan_of
from vaezoo.core.errors import VaezooError
from vaezoo.core.precision import PRECISIONS
from vaezoo.evaluation.precision_difference import IMAGES, SAMPLES, difference_from_float32
from vaezoo.reports.tables import tables
from vaezoo.runner.machine import timing
from vaezoo.runner.matrix.file import load, rows
from vaezoo.runner.plan import planner as planning
from vaezoo.runner.results import read_results
from vaezoo.training.options import TrainingOptions

TINY = {"datasets": ["digits-binary"], "model": {"latent": 2, "hidden": [8]}, "variants": [{"name": "vae"}]}
DIFFERENCE = ["iwll_minus_float32", "iwll_minus_float32_standard_error"]


def row(precision, **more):
    return {"name": "vae", "label": precision, "train": {"precision": precision}, **more}


# The matrix and the plan


def test_the_file_knows_the_same_names_as_the_model():
    found = rows(load({**TINY, "variants": [row(name) for name in PRECISIONS]}))
    assert tuple(each.train.precision for each in found) == PRECISIONS
    assert TrainingOptions().precision == "float32"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("bf16", "got 'bf16'; did you mean 'bfloat16'?"),
        ("double", "got 'double'"),
        (16, "got 16"),
    ],
)
def test_another_precision_is_refused(written, said):
    with pytest.raises(VaezooError) as caught:
        load({**TINY, "train": {"precision": written}})
    text = str(caught.value)
    assert "train.precision: expected one of float32, tf32, bfloat16, got " in text
    assert "\n" not in text
    assert said in text


def test_tf32_on_a_cpu_is_skipped_with_its_reason_and_the_rest_runs():
    plan, where = plan_of({**TINY, "variants": [row(name) for name in PRECISIONS]}, device="cpu")
    assert where == "cpu"
    skips = {cell.label: cell.skip for cell in plan.cells}
    reason = "precision 'tf32' needs a CUDA device, this run is on cpu; use float32 or bfloat16"
    assert skips == {"float32": None, "tf32": reason, "bfloat16": None}
    assert len(plan.timings) == 2
    on_gpu = planning.make_plan(plan.matrix, device="some GPU", kind="cuda")
    assert [cell.skip for cell in on_gpu.cells] == [None, None, None]
    assert len({cell.key for cell in on_gpu.cells}) == len({t.key for t in on_gpu.timings.values()}) == 3


# The difference


def built():
    data = vaezoo.load_dataset("digits-binary")
    return vaezoo.build("vae", data, latent=4, hidden=(32,)), data


def test_the_difference_is_that_of_the_estimates_with_the_same_noise():
    model, data = built()
    model.precision = "bfloat16"
    found = difference_from_float32(model, data.test.x, 20)
    assert model.precision == "bfloat16"
    coarse = vaezoo.log_likelihood(model, data.test.x[:IMAGES], 20).estimate
    model.precision = "float32"
    off = coarse - vaezoo.log_likelihood(model, data.test.x[:IMAGES], 20).estimate
    assert list(found) == DIFFERENCE
    assert found["iwll_minus_float32"] == float(off.mean()) != 0
    assert found["iwll_minus_float32_standard_error"] == pytest.approx(float(off.std()) / math.sqrt(len(off)))
    assert abs(found["iwll_minus_float32"]) < 0.1
    assert list(difference_from_float32(model, data.test.x[:9], 5).values()) == [0, 0]


def test_the_difference_takes_few_images_and_samples(monkeypatch):
    asked = []

    def estimated(model, x, importance_samples, context=None):
        asked.append((model.precision, len(x), importance_samples))
        return vaezoo.log_likelihood(model, x[:2], 2)

    model, data = built()
    model.precision = "bfloat16"
    monkeypatch.setattr("vaezoo.evaluation.precision_difference.log_likelihood", estimated)
    difference_from_float32(model, data.test.x.repeat(9, 1, 1, 1), 10**6)
    assert asked == [("bfloat16", IMAGES, SAMPLES), ("float32", IMAGES, SAMPLES)]


def test_speeds_are_those_of_the_precision(monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(timing, "ROUND_SECONDS", 0.0)
    model, data = built()
    model.precision = "bfloat16"
    seen = {"encoder": set(), "decoder": set()}
    for name, kinds in seen.items():
        getattr(model, name).register_forward_hook(lambda module, given, out, kinds=kinds: kinds.add(out.dtype))
    objective = vaezoo.registry.registry("objective")["elbo"].target()
    timing.measure_speeds(model, objective, data, TrainingOptions(batch_size=100))
    assert seen == {"encoder": {torch.bfloat16}, "decoder": {torch.bfloat16}}


# A run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """float32, bfloat16 and tf32 (which is skipped), one epoch each, through `vaezoo.run`."""
    here = tmp_path_factory.mktemp("precision")
    matrix = {
        **TINY,
        "train": {"epochs": 1},
        "evaluate": {"importance_samples": 20, "images": 100, "throughput": False},
        "variants": [row(name) for name in PRECISIONS],
    }
    vaezoo.run(matrix, here / "out", device="cpu", jobs=1)
    return here / "out"


def test_the_record_and_the_frame_hold_the_difference(folder):
    frame = read_results(folder).set_index("label")
    assert frame.status.to_dict() == {"float32": "ok", "bfloat16": "ok", "tf32": "skipped"}
    assert frame.precision.to_dict() == {name: name for name in PRECISIONS}
    assert frame["train.precision"].to_dict() == {name: name for name in PRECISIONS}
    assert 0 < abs(frame.loc["bfloat16", DIFFERENCE[0]]) < 0.1
    assert 0 < frame.loc["bfloat16", DIFFERENCE[1]] < 0.1
    assert frame.loc[["float32", "tf32"], DIFFERENCE].isna().all(axis=None)
    for path in (folder / "cells").glob("*.json"):
        record = json.loads(path.read_text())
        assert set(DIFFERENCE) & set(record["results"]) == set(DIFFERENCE if record["precision"] == "bfloat16" else ())


def test_loading_restores_the_precision(folder):
    data = vaezoo.load_dataset("digits-binary")
    records = {path: json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")}
    loaded = {record["label"]: (vaezoo.load_model(path), record) for path, record in records.items()}
    assert {label: model.precision for label, (model, _) in loaded.items()} == {n: n for n in ("float32", "bfloat16")}
    model, record = loaded["bfloat16"]
    assert difference_from_float32(model, data.test.x[:100], 20)["iwll_minus_float32"] == pytest.approx(
        record["results"]["iwll_minus_float32"], abs=2e-4
    )


def test_the_table_shows_the_difference_and_names_the_precision(folder):
    (table,) = tables(read_results(folder))
    rows = {each.label: each for each in table.rows}
    assert {rows["float32"], rows["bfloat16"]} <= table.ranking.ranked
    assert "train.precision = bfloat16 (most rows float32)" in table.remarks[rows["bfloat16"]]
    assert set(DIFFERENCE) <= {column.name for column in table.columns}


def test_without_the_difference_precisions_are_not_ranked_together(folder):
    frame = read_results(folder)
    (table,) = tables(frame.assign(iwll_minus_float32=math.nan))
    rows = {each.label: each for each in table.rows}
    assert rows["bfloat16"] not in table.ranking.ranked
    assert "not ranked: precision is bfloat16, float32 has float32" in table.remarks[rows["bfloat16"]]


def test_a_table_all_of_one_precision_says_so(folder):
    frame = read_results(folder)
    (table,) = tables(frame[frame.label == "bfloat16"])
    assert "precision bfloat16" in table.lead
    (table,) = tables(pandas.DataFrame(frame[frame.label == "float32"]))
    assert not re.search("precision (float32|bfloat16)", table.lead)
