"""What goes to JSON comes back equal; records of version 0.1.0 are read; other JSON is not."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from small_tasks import a_cell, a_specification, a_task, resealed, unsealed

from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.runner.files import DamagedFile, write_atomically
from vaezoo.runner.formats import sha256_of_json
from vaezoo.runner.plan.cell import Cell, Task
from vaezoo.runner.plan.specification import Specification
from vaezoo.runner.provenance import Provenance
from vaezoo.runner.records import (
    FINAL,
    STATUSES,
    CellProgress,
    DataFacts,
    Record,
    reason_of,
)
from vaezoo.runner.store import Store, read_record
from vaezoo.runner.work.checkpoint import _load, load_model, save_weights
from vaezoo.training.loop import NotPacked
from vaezoo.training.options import TrainingOptions
from vaezoo.training.seed_run import Diverged

OLD = Path(__file__).parent / "version_0_1_0"
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
    with pytest.raises(VaezooError, match=r"expected a regular file, got a folder; give a \.json file"):
        load_model(tmp_path)


def a_small_model(**changes: object) -> tuple[Cell, Record]:
    """The cell of a small model, and its record."""
    spec = replace(a_specification(), slots=resolve("vae", DataSpec((1, 2, 2), "binary")), train=TrainingOptions())
    cell = replace(a_cell(), specification=replace(spec, **changes), key=replace(spec, **changes).key)
    facts = DataFacts((1, 2, 2), "binary", None, "none", None, 10)
    return cell, replace(Record.of(cell, "ok"), results={"iwll": -1.0}, data=facts)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read: they have 0 bytes, and the record's model takes"),
        (b"no weights" * 1000, "cannot be read: SafetensorError: "),
        (b"\xff" * 10_000, "cannot be read: SafetensorError: "),
    ],
    ids=["none", "text", "bytes"],
)
def test_weights_that_cannot_be_read_are_one_line(tmp_path, content, said):
    store, (cell, record) = Store(tmp_path), a_small_model()
    write_atomically(store.path("checkpoints", cell.stem), content)
    store.write(cell, record)
    with pytest.raises(VaezooError, match=rf"the weights .* {said}.*; run the matrix again") as raised:
        load_model(store.path("cells", cell.stem))
    assert "\n" not in str(raised.value)


def test_weights_that_a_part_has_added_are_named(tmp_path):
    model, added = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    added.later = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="they hold later, which the model does not have when it is built: a plugin"):
        _load(model, save(added.state_dict()))


def test_a_model_larger_than_its_weights_is_not_built(tmp_path):
    store, (cell, record) = Store(tmp_path), a_small_model(latent=10**12)
    write_atomically(store.path("checkpoints", cell.stem), b"few")
    store.write(cell, record)
    with pytest.raises(VaezooError, match=r"they have 3 bytes, and the record's model takes \d\d,"):
        load_model(store.path("cells", cell.stem))


@pytest.mark.parametrize("is_verified", [True, False])
def test_weights_of_another_model_are_refused(tmp_path, is_verified):
    store, (cell, record) = Store(tmp_path), a_small_model()
    path, weights = store.path("cells", cell.stem), store.path("checkpoints", cell.stem)
    model = construct(cell.specification.slots, Ingredients.blank(DataSpec((1, 2, 2), "binary"), 8, (4, 5), 10))[0]
    save_weights(model, weights)
    store.write(cell, record)
    assert not load_model(path).training
    if not is_verified:
        path.write_text(json.dumps(unsealed(json.loads(path.read_text()))))
    save_weights(model.to(torch.float64), weights)
    said = "are not those of the record: they have been changed" if is_verified else "is torch.float64, the model's is"
    with pytest.raises(VaezooError, match=rf"the weights .* {said}.*; run the matrix again"):
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
    assert store.record("cells", cell.stem, cell) == Record.of(cell, "failed", "why")


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
    """Its training table lacks every option that was unset, and `compile` where it was false; it has no digests."""
    path = next(finished.folder.glob("cells/*.json"))
    value = unsealed(json.loads(path.read_text()))
    for name, now in {"compile": False, "gradient_clip": None, "patience": None, "validation_images": "auto"}.items():
        assert value["specification"]["train"].pop(name) == now
    value["key"] = sha256_of_json(value["specification"])
    for folder, name in (("cells", path.name), ("checkpoints", f"{path.stem}.safetensors")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes((finished.folder / folder / name).read_bytes())
    (tmp_path / "cells" / path.name).write_text(json.dumps(value))
    assert not read_record(tmp_path / "cells" / path.name).is_verified
    old, new = load_model(tmp_path / "cells" / path.name).state_dict(), load_model(path).state_dict()
    assert list(old) == list(new)
    assert all(torch.equal(old[name], new[name]) for name in new)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "fine"}, "status must be 'ok' or 'failed' or"),
        ({"status": None}, "status must be"),
        ({"specification": None}, "specification must be a table, got null"),
        ({"specification": {"latent": 3}}, "specification.protocol is missing"),
        ({"comparability": []}, "comparability must be a table, got a list"),
        ({"provenance": {"torch": "2"}}, "provenance.vaezoo is missing"),
        ({"data": 3}, "data must be "),
        ({"pack": 3}, "pack must be "),
        ({"pack": [True]}, "pack must be "),
        ({"results": None}, "results must be a table, got null"),
        ({"results": {"iwll": "high"}}, "results.iwll must be a number or left out, got 'high'"),
        ({"results": {"iwll": True}}, "results.iwll must be a number"),
        ({"results": {"iwll": 1e300}}, "results.iwll must be a number"),
        ({"results": {"iwll": float("nan")}}, "results.iwll must be a number"),
        ({"results": {"iwll": 10**400}}, "results.iwll must be a number"),
        ({"results": {"iwll": None}}, "its status is ok, and it has no iwll"),
        ({"results": {}}, "its status is ok, and it has no iwll"),
        ({"vectors": {"x": [float("inf")]}}, "vectors and notes must hold finite numbers"),
        (
            {"notes": {"x": json.loads("[" * 33 + "]" * 33)}},
            "notes.x has more than 32 lists and tables within each",
        ),
        ({"later": json.loads("[" * 900 + "]" * 900)}, None),
        ({"history": {"objective": [1.0, "2"]}}, "history.objective must be a number or left out"),
        ({"warnings": "one"}, "warnings must be a list, got 'one'"),
        ({"seed": "0"}, "seed must be a whole number or left out, got '0'"),
        ({"seed": 1}, "its seed or its variant is not its specification's"),
        ({"variant": "iwae"}, "its seed or its variant is not its specification's"),
        ({"label": "\ud800"}, r"label must be a string, got '\\ud800'"),
        ({"key": "k"}, "its key is not the sha256 of its specification"),
        ({"log": "../../outside"}, "it names the file '../../outside'"),
        ({"log": "logs/../x"}, "it names the file 'logs/../x'"),
        ({"files": {"/abs": "a"}}, "it names the file '/abs'"),
        ({"format": 3}, r"a newer vaezoo wrote it \(format 3; this one reads up to 2\): update vaezoo"),
        ({"format": "2"}, "its format must be a whole number"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_record_says_why(tmp_path, change, said):
    path = tmp_path / "a.json"
    value = a_record().file_content()
    path.write_text(json.dumps(value))
    assert read_record(path) == a_record()
    assert read_record(path).is_verified
    if said is None:  # a field of another version is not looked at
        path.write_text(json.dumps(resealed({**value, **change})))
        assert read_record(path) == a_record()
        return
    newer = "format" in change
    path.write_text(json.dumps(value | change if newer else resealed({**value, **change})))
    with pytest.raises(DamagedFile, match=rf"a\.json.*: {said}"):
        read_record(path)
    if not newer:
        path.write_text(json.dumps(value | change))
        with pytest.raises(DamagedFile, match="it has been changed: its digest is not that of its content"):
            read_record(path)
        path.write_text(json.dumps(unsealed({**value, **change})))
        if change.get("files") is None:
            with pytest.raises(DamagedFile, match=said):
                read_record(path)


def test_a_specification_keeps_an_infinite_option(tmp_path):
    """A part's default may be infinite. JSON has no such number, but the key is the hash of it."""
    cell = a_cell()
    slots = {**cell.specification.slots, "prior": ("mixture", {"components": math.inf})}
    spec = replace(cell.specification, slots=slots)
    cell = replace(cell, specification=spec, key=spec.key)
    Store(tmp_path).write(cell, replace(Record.of(cell, "ok"), results={"iwll": -1.0}, vectors={"x": [math.nan]}))
    found = Store(tmp_path).record("cells", cell.stem, cell)
    assert found.specification == spec
    assert found.vectors == {"x": [None]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"notes": {"fid": {1}}}, "Object of type set is not JSON serializable"),
        ({"notes": {"fid": [[]]}}, None),
        ({"vectors": {"x": 1e300}}, "vectors and notes must hold finite numbers"),
        ({"results": {"iwll": 1e300}}, "results.iwll must be a number"),
        ({"results": {}}, "its status is ok, and it has no iwll"),
        ({"warnings": ("\ud800",)}, None),
    ],
    ids=repr,
)
def test_a_record_that_could_not_be_read_is_written_as_failed(tmp_path, change, said):
    record = replace(Record.of(a_cell(), "ok"), **{"results": {"iwll": -1.0}, **change})
    written, found = Store(tmp_path).write(a_cell(), record), Store(tmp_path).record("cells", a_cell().stem, a_cell())
    if said is None:
        assert (written.status, found.status) == ("ok", "ok")
    else:
        assert written == found
        assert found.status == "failed"
        assert found.reason.startswith("its record could not be stored: ")
        assert said in found.reason


def test_a_record_too_large_to_be_read_is_written_as_failed(tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo.runner.store.LARGEST_RECORD", 10_000)
    record = replace(Record.of(a_cell(), "ok"), results={"iwll": -1.0}, vectors={"x": list(range(5000))})
    assert "expected 10,000 at most" in Store(tmp_path).write(a_cell(), record).reason


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
        (RuntimeError(), "RuntimeError"),
        (VaezooError("what came"), "what came"),
        (Skip("cannot be"), "cannot be"),
        (Diverged("at step 3"), "at step 3"),
        (NotPacked("not so"), "not so"),
    ],
)
def test_a_reason_is_one_line_with_the_type_of_a_foreign_error(error, reason):
    assert reason_of(error) == reason


def test_a_reason_is_cut_and_can_be_printed():
    reason = reason_of(RuntimeError("\x1b]0;title\x07\x1b[31mred\x1b[0m \x00 \ud800 \u202e" + "x" * 10_000_000))
    assert reason.startswith("RuntimeError: red x")
    assert len(reason) == 500
    assert reason.isprintable()
