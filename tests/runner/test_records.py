"""What goes to JSON comes back equal; records of version 0.1.0 are read; other JSON is not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_tasks import a_cell, a_specification, a_task

from vaezoo.builder import resolve
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.runner.plan.cell import Cell, Task
from vaezoo.runner.plan.specification import Specification
from vaezoo.runner.records import (
    FINAL,
    STATUSES,
    CellProgress,
    DataFacts,
    Provenance,
    Record,
    reason_of,
)
from vaezoo.runner.store import Store, read_record
from vaezoo.runner.work.checkpoint import load_model
from vaezoo.training.loop import NotPacked
from vaezoo.training.options import TrainingOptions
from vaezoo.training.seed_run import Diverged

OLD = Path(__file__).parents[2] / "results" / "mnist"
"""Records that version 0.1.0 wrote."""


def a_record() -> Record:
    return replace(
        Record.of(a_cell(), "ok"),
        provenance=Provenance("0.1.0", "2.14", "3.11", "Linux", "a processor", 1, None, ("mine.py",), "2026"),
        pack=(0, 1),
        resumed=2,
        results={"iwll": -90.5},
        best_epoch=3,
        history={"objective": [-100.0, None]},
        vectors={"kl_per_dimension": [[0.5, 1.0]]},
        notes={"au": "why not"},
        warnings=("take more",),
        data=DataFacts((1, 8, 8), "discrete", 17, "none", None, 1000),
        seconds=2.5,
        log="logs/x.log",
    )


def through_json(value: object) -> object:
    return type(value).from_json(json.loads(json.dumps(value.to_json())))


@pytest.mark.parametrize(
    "value",
    [
        a_specification(),
        a_specification().timed_on("a processor", 2),
        a_cell(),
        replace(a_cell(), skip="why", expected_failure="KeyError: 'x'"),
        a_task(Path("/results")),
        replace(a_task(Path("there")), alone="why", plugins=(), data_root=None),
        Record.of(a_cell(), "failed", "why"),
        a_record(),
        CellProgress(1, 5, -100.5, None, 2.5, 17),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_goes_to_json_comes_back_equal(value):
    assert through_json(value) == value


@pytest.mark.parametrize(
    ("kind", "value"), [(Specification, a_specification()), (Cell, a_cell()), (Record, a_record())]
)
def test_what_a_later_version_adds_is_left_out(kind, value):
    assert kind.from_json({**value.to_json(), "new": {"a": 1}}) == value
    assert Task.from_json({**a_task(Path("x")).to_json(), "new": 1}) == a_task(Path("x"))


def test_a_model_of_a_folder_is_one_line(tmp_path):
    with pytest.raises(VaezooError, match=r"cannot be read: Is a directory; give a \.json file from the cells/ folder"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 100])
def test_weights_that_cannot_be_read_are_one_line(tmp_path, content):
    spec = replace(a_specification(), slots=resolve("vae", DataSpec((1, 2, 2), "binary")), train=TrainingOptions())
    facts = DataFacts((1, 2, 2), "binary", None, "none", None, 10)
    Store(tmp_path).write(a_cell(), replace(a_record(), specification=spec, data=facts))
    path = Store(tmp_path).path("cells", a_cell().stem)
    weights = Store(tmp_path).path("checkpoints", a_cell().stem)
    weights.parent.mkdir()
    weights.write_bytes(content)
    with pytest.raises(VaezooError, match=r"the weights .* cannot be read: SafetensorError: .*; run the matrix again"):
        load_model(path)


def test_a_cell_has_no_device_and_a_timing_no_seed():
    cell, timing = a_specification(), a_specification().timed_on("a processor", 2)
    assert {"device", "threads"}.isdisjoint(cell.to_json())
    assert {"seed", "metrics", "evaluate"}.isdisjoint(timing.to_json())
    assert list(timing.code) == ["prior/mixture"]


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "schedule", "kl_warmup", "patience", "validation_images"])
def test_a_timing_does_not_depend_on_the_length_of_training(name):
    other = {"epochs": 9, "learning_rate": 0.5, "schedule": "cosine", "kl_warmup": 2.0}.get(name, 9)
    cell = a_specification()
    changed = replace(cell, seed=5, train=replace(cell.train, **{name: other}))
    assert changed.key != cell.key
    assert changed.timed_on("a processor", 2).key == cell.timed_on("a processor", 2).key


@pytest.mark.parametrize(
    "changes", [{"batch_size": 9}, {"gradient_clip": None}, {"precision": "float32"}, {"compile": False}]
)
def test_a_timing_depends_on_the_step(changes):
    cell = a_specification()
    timed = replace(cell, train=replace(cell.train, **changes)).timed_on("a processor", 2)
    assert timed.key != cell.timed_on("a processor", 2).key


# On the disk


def test_a_record_keeps_its_form_on_the_disk(tmp_path):
    """The names under which other programs and older versions read it."""
    Store(tmp_path).write(a_cell(), a_record())
    value = json.loads(Store(tmp_path).path("cells", a_cell().stem).read_text())
    assert (value["device"], value["precision"], value["pseudo_likelihood"]) == ("a processor", "bfloat16", False)
    assert value["specification"]["slots"]["prior"] == ["mixture", {"components": 3, "spread": 1.5}]
    assert (value["pack"], value["log"], value["warnings"]) == ([0, 1], "logs/x.log", ["take more"])
    failed = Record.of(a_cell(), "failed").to_json()
    assert {"pack", "log", "provenance", "device", "best_epoch", "data"}.isdisjoint(failed)
    assert failed["reason"] is None


def test_a_written_record_is_no_longer_running(tmp_path):
    store, cell, progress = Store(tmp_path), a_cell(), CellProgress(1, 5, -100.5, None, 2.5, 17)
    store.write_progress(cell.stem, progress)
    assert store.progress(cell.stem) == progress
    store.write(cell, Record.of(cell, "failed", "why"))
    assert store.progress(cell.stem) is None
    assert store.record("cells", cell.stem) == Record.of(cell, "failed", "why")


@pytest.mark.parametrize("kind", ["cells", "timings"])
def test_records_of_version_0_1_0_are_read(kind):
    paths = sorted((OLD / kind).glob("*.json"))
    assert len(paths) > 5
    for path in paths:
        value, record = json.loads(path.read_text()), read_record(path)
        again = record.to_json()
        assert {name: again[name] for name in value if name != "specification"} == {
            name: value[name] for name in value if name != "specification"
        }
        assert record.specification.train == TrainingOptions(**value["specification"]["train"])
        assert record.specification.train.compile is False


def test_the_plan_of_version_0_1_0_is_read():
    value, plan = json.loads((OLD / "plan.json").read_text()), Store(OLD).plan()
    assert plan.to_json() == {**value, "columns": []}


def test_a_model_is_loaded_from_a_record_that_version_0_1_0_wrote(finished, tmp_path):
    """Its training table lacks every option that was unset, and `compile` where it was false."""
    path = next(finished.folder.glob("cells/*.json"))
    value = json.loads(path.read_text())
    unset = ("compile", "gradient_clip", "patience", "validation_images")
    for name in unset:
        assert not value["specification"]["train"].pop(name)
    for folder, name in (("cells", path.name), ("checkpoints", f"{path.stem}.safetensors")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes((finished.folder / folder / name).read_bytes())
    (tmp_path / "cells" / path.name).write_text(json.dumps(value))
    old, new = load_model(tmp_path / "cells" / path.name).state_dict(), load_model(path).state_dict()
    assert list(old) == list(new)
    assert all(torch.equal(old[name], new[name]) for name in new)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fine"},
        {"status": None},
        {"specification": None},
        {"specification": {"latent": 3}},
        {"comparability": []},
        {"provenance": {"torch": "2"}},
        {"data": 3},
        {"pack": 3},
        {"results": 3},
    ],
)
def test_what_is_no_record_is_none(tmp_path, change):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(a_record().to_json()))
    assert read_record(path) == a_record()
    path.write_text(json.dumps({**a_record().to_json(), **change}))
    assert read_record(path) is None


# Statuses and reasons


def test_ok_and_diverged_are_final():
    assert set(FINAL) == {"ok", "diverged"}
    for status in STATUSES:
        assert Record.of(a_cell(), status).is_final == (status in FINAL)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("a\nb"), "ValueError: a"),
        (KeyError("why"), "KeyError: 'why'"),
        (RuntimeError(), "RuntimeError: RuntimeError"),
        (VaezooError("what came"), "what came"),
        (Skip("cannot be"), "cannot be"),
        (Diverged("at step 3"), "at step 3"),
        (NotPacked("not so"), "not so"),
    ],
)
def test_a_reason_is_one_line_with_the_type_of_a_foreign_error(error, reason):
    assert reason_of(error) == reason
