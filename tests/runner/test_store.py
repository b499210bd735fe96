"""The results folder: atomic files, and the frame that is read from them."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy
import pandas
import pytest
from small_tasks import resealed

import vaezoo
from vaezoo.core.columns import Column
from vaezoo.core.errors import VaezooError
from vaezoo.runner.files import DamagedFile, write_atomically
from vaezoo.runner.plan.cell import Comparability
from vaezoo.runner.plan.specification import PROTOCOL
from vaezoo.runner.plan.stored import StoredCell, StoredPlan
from vaezoo.runner.results import read_results
from vaezoo.runner.store import Store, read_json, write_json

TEXTS = ("label", "variant", "dataset", "status", "measure", "checksum", "device", "precision")
NUMBERS = (
    "seed",
    "elbo",
    "iwll",
    "kl",
    "reconstruction",
    "active_units",
    "bits_per_dim",
    "train_images_per_second",
    "iwll_samples_per_second",
    "sample_images_per_second",
    "own_memory_bytes",
    "parameters",
    "train_seconds",
    "iwll_standard_error",
    "effective_samples",
    "importance_samples",
)


# Files


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "a.json"
    for content in (b"first", b"second"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == ["a.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("broken", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_midway_leaves_the_old_file(tmp_path, monkeypatch, broken, error):
    path = tmp_path / "a.json"
    write_json(path, {"value": "old"})

    def fail(*_):
        raise error

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(type(error)) as raised:
        write_json(path, {"value": "new"})
    if isinstance(error, OSError):
        assert raised.value.filename == str(path)
    assert read_json(path) == {"value": "old"}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append("replace"), replace(old, new)))
    write_atomically(tmp_path / "lasting", b"x")
    write_atomically(tmp_path / "passing", b"x", lasting=False)
    assert done == ["fsync", "replace", "replace"]


def test_a_plan_is_kept_as_it_is_with_a_cell_a_line(tmp_path):
    facts = Comparability("binary", "none", "abc", "test", "iwll", False, False, 10, 5, "float32")
    skips = (None, "é\n")
    cells = tuple(StoredCell(f"x{n}", "k", None, "a", "vae", "d", n, skips[n], facts, {"b": 1.5}) for n in range(2))
    plan = StoredPlan(
        PROTOCOL,
        "a",
        ("b",),
        ({"label": "a paper", "dataset": "d", "iwll": -1.0},),
        (Column("fid"),),
        {"name": "a"},
        cells,
    )
    Store(tmp_path).write_plan(plan)
    assert Store(tmp_path).plan() == plan
    lines = (tmp_path / "plan.json").read_text().splitlines()
    assert [StoredCell.from_json(json.loads(line.rstrip(","))) for line in lines if "stem" in line] == list(cells)
    Store(tmp_path).write_plan(replace(plan, cells=()))
    assert Store(tmp_path).plan() == replace(plan, cells=())


def test_what_json_cannot_say_is_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": [1.5, float("inf")], "c": {1: (2, None)}})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [1.5, None], "c": {"1": [2, None]}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is no JSON: Expecting value"),
        (b"{", "it is no JSON: Expecting property name"),
        (b"[1]", "expected a JSON object, got a list"),
        (b"null", "expected a JSON object, got null"),
        (b"\xff\xfe", "it is no text"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "expected at most 32 lists and tables within each other"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it holds a number of too many digits"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_file_that_holds_no_json_object_is_damaged(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedFile, match=rf"a\.json is damaged: {said}"):
        read_json(tmp_path / "a.json")


def test_a_file_that_is_not_there_is_none(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert read_json(tmp_path / "a.json") == {}
    assert read_json(tmp_path / "b.json") is None
    assert read_json(tmp_path / "a.json" / "below.json") is None


def test_values_of_images_are_float32_without_pickles(tmp_path):
    Store(tmp_path).write_images("x", {"iwll": numpy.arange(3, dtype=numpy.float64)})
    with numpy.load(tmp_path / "cells" / "x.npz", allow_pickle=False) as found:
        assert {name: str(found[name].dtype) for name in found.files} == {"iwll": "float32"}


def test_a_folder_without_results_is_an_error(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(VaezooError, match=r"holds no results of a matrix \(no plan\.json\); give the folder that"):
            vaezoo.read_results(path)


@pytest.mark.parametrize("content", ["{", "", "[]", "{}", '{"name": 1}', '{"settings": 3}', "\xff"])
def test_a_damaged_plan_is_an_error_that_says_so(tmp_path, content):
    (tmp_path / "plan.json").write_text(content, encoding="latin-1")
    with pytest.raises(VaezooError, match=r"plan\.json is damaged: .*; run the matrix again into this fol") as raised:
        read_results(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("broken", ["settings", "references", "columns", "cells", "matrix", "name"])
@pytest.mark.parametrize("value", [None, 3, [3]])
def test_a_plan_with_a_broken_entry_is_damaged(finished, tmp_path, broken, value):
    plan = json.loads((finished.folder / "plan.json").read_text())
    plan[broken] = value
    (tmp_path / "plan.json").write_text(json.dumps(resealed(plan)))
    with pytest.raises(VaezooError, match=rf"is damaged: {broken}"):
        Store(tmp_path).plan()


@pytest.mark.parametrize(
    "stem",
    [
        "../../outside",
        "/abs/path",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "a\0b",
        "x" * 300,
        "\x1b[31m",
        ".hidden",
        "c:x",
        "é" * 150,
    ],
)
@pytest.mark.parametrize("name", ["stem", "timing"])
def test_a_plan_names_only_files_inside_the_folder(finished, tmp_path, stem, name):
    plan = json.loads((finished.folder / "plan.json").read_text())
    plan["cells"][0][name] = stem
    (tmp_path / "plan.json").write_text(json.dumps(resealed(plan)))
    with pytest.raises(VaezooError, match=r"it names the record .*, which is no file name inside") as raised:
        read_results(tmp_path)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("change", [{"iwll": "-80"}, {"elbo": [1]}, {"dataset": None}, {"importance_samples": 0.5}])
def test_a_reference_is_checked(finished, tmp_path, change):
    plan = json.loads((finished.folder / "plan.json").read_text())
    plan["references"] = [{"label": "a paper", "dataset": "digits-binary", **change}]
    (tmp_path / "plan.json").write_text(json.dumps(resealed(plan)))
    with pytest.raises(VaezooError, match=rf"plan\.json is damaged: {next(iter(change))} must be"):
        read_results(tmp_path)


def test_a_setting_cannot_take_the_place_of_a_column(finished, tmp_path):
    plan = json.loads((finished.folder / "plan.json").read_text())
    plan["cells"][0]["settings"]["status"] = "ok"
    (tmp_path / "plan.json").write_text(json.dumps(resealed(plan)))
    with pytest.raises(VaezooError, match="its setting 'status' has the name of another column"):
        read_results(tmp_path)


@pytest.mark.parametrize("folder", ["cells", "checkpoints", "tables", "damaged"])
def test_a_folder_that_leads_elsewhere_is_refused(finished, tmp_path, folder):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "plan.json").write_bytes((finished.folder / "plan.json").read_bytes())
    (tmp_path / folder).symlink_to(tmp_path / "elsewhere")
    for use in (lambda: read_results(tmp_path), Store(tmp_path).prepare):
        with pytest.raises(VaezooError, match=rf"{folder} is a link, expected a folder"):
            use()


# The frame


@pytest.fixture(scope="module")
def frame(finished):
    return read_results(finished.folder)


def test_one_row_a_cell_in_the_order_of_the_matrix(frame):
    assert list(zip(frame.label, frame.seed, frame.status, strict=True)) == [
        ("vae", 0, "ok"),
        ("vae", 1, "ok"),
        ("beta-vae", 0, "ok"),
        ("beta-vae", 1, "ok"),
    ]
    assert frame.attrs["name"] == "first"
    assert frame.attrs["references"] == []


def test_the_columns_of_the_design(frame):
    assert {*TEXTS, *NUMBERS, "reason"} <= set(frame.columns)
    for name in NUMBERS:
        assert pandas.api.types.is_numeric_dtype(frame[name]), name
        assert frame[name][:2].notna().all(), name
    for name in TEXTS:
        assert frame[name].map(type).eq(str).all(), name
    assert frame.reason.isna().all()
    assert (frame.importance_samples == 5).all()
    assert set(frame.measure) == {"binary"}


def test_a_setting_that_differs_between_rows_is_a_column(frame):
    assert {"objective", "objective.beta", "evaluate.throughput"} <= set(frame.attrs["settings"]) <= set(frame.columns)
    assert list(frame["objective"]) == ["elbo", "elbo", "beta", "beta"]
    assert list(frame["objective.beta"])[2:] == [8.0, 8.0]
    assert "train.epochs" not in frame
    assert "model.latent" not in frame


def test_speeds_are_those_of_the_one_timing(frame):
    vae, beta = frame[frame.variant == "vae"], frame[frame.variant == "beta-vae"]
    for name in ("train_images_per_second", "iwll_samples_per_second", "sample_images_per_second"):
        assert vae[name].nunique() == 1
        assert beta[name].isna().all()


def test_what_has_not_been_run_is_missing_and_its_columns_are_numbers(finished, tmp_path):
    (tmp_path / "plan.json").write_bytes((finished.folder / "plan.json").read_bytes())
    frame = read_results(tmp_path)
    assert list(frame.status) == ["missing"] * 4
    for name in NUMBERS:
        assert pandas.api.types.is_numeric_dtype(frame[name]), name


def test_a_record_with_the_name_of_another_column_is_read_without_it(finished, tmp_path):
    (tmp_path / "plan.json").write_bytes((finished.folder / "plan.json").read_bytes())
    shutil.copytree(finished.folder / "cells", tmp_path / "cells")
    path = sorted(tmp_path.glob("cells/vae--*s0*.json"))[0]
    record = json.loads(path.read_text())
    record["results"] |= {"label": 3.0, "own": 0.5}
    path.write_text(json.dumps(resealed(record)))
    frame = read_results(tmp_path)
    assert list(frame.label) == ["vae", "vae", "beta-vae", "beta-vae"]
    assert frame.own[0] == 0.5
    assert "the column 'label' of the record has the name of another column" in frame.warnings[0]


def test_the_plan_is_kept_in_the_folder(finished):
    plan = Store(finished.folder).plan()
    assert (plan.name, len(plan.cells), plan.protocol) == ("first", 4, PROTOCOL)
    assert {cell.stem for cell in plan.cells} == {path.stem for path in finished.folder.glob("cells/*.json")}
    assert plan.matrix["train"] == {"epochs": 2}


# The same again, elsewhere

SCRIPT = """
import vaezoo

if __name__ == "__main__":
    matrix = {
        "name": "second",
        "datasets": ["digits-binary"],
        "seeds": [1, 2],
        "model": {"latent": 2, "hidden": [8]},
        "train": {"epochs": 2},
        "evaluate": {"importance_samples": 5, "throughput": False},
        "variants": [{"name": "beta-vae", "objective": {"beta": 8}}, {"name": "vae"}, {"name": "iwae"}],
    }
    frame = vaezoo.run(matrix, "there", device="cpu", jobs=1)
    print(len(frame), set(frame.status))
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Another matrix that shares two cells with the finished one, run from Python into another folder."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "script.py").write_text(SCRIPT)
    words = [sys.executable, "script.py"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "6 {'ok'}\n", "")
    return folder / "there"


def without_circumstances(record: dict) -> dict:
    """A record without what two runs of one cell may differ in: times, memory, and where and when it was run."""
    results = {name: value for name, value in record["results"].items() if not re.search("second|memory", name)}
    history = {name: values for name, values in record["history"].items() if name != "seconds"}
    own = ("provenance", "seconds", "device", "digest")
    kept = {name: value for name, value in record.items() if name not in own}
    return kept | {"results": results, "history": history}


@pytest.mark.slow
def test_the_same_cells_give_the_same_records(finished, elsewhere):
    shared = sorted(
        {path.name for path in finished.folder.glob("cells/*")} & {p.name for p in elsewhere.glob("cells/*")}
    )
    assert [name.split("--")[0] for name in shared] == ["beta-vae", "beta-vae", "vae", "vae"]
    for name in shared:
        one, other = (folder / "cells" / name for folder in (finished.folder, elsewhere))
        if name.endswith(".json"):
            one, other = (without_circumstances(json.loads(path.read_text())) for path in (one, other))
            assert one == other
        else:
            with numpy.load(one) as a, numpy.load(other) as b:
                assert a.files == b.files
                assert all(a[key].tobytes() == b[key].tobytes() for key in a.files)
    for name in shared:
        weights = [
            folder / "checkpoints" / name.replace(".json", ".safetensors") for folder in (finished.folder, elsewhere)
        ]
        if name.endswith(".json"):
            assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_row_that_is_added_runs_its_own_cells_alone(shell, finished, elsewhere, matrix_file, tmp_path):
    """Labels, order, other rows and the name of the matrix are no part of a cell's key."""
    rows = ["vae", {"name": "iwae", "label": "another name"}, {"name": "vae", "prior": "mixture", "label": "new"}]
    matrix_file(tmp_path / "more.toml", rows, seeds=[2], train={"epochs": 2})
    before = {path: path.stat().st_mtime_ns for path in elsewhere.glob("cells/*")}
    done = shell("run", tmp_path / "more.toml", "--out", elsewhere, "--jobs", 1, "--device", "cpu")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "cells: 1 to run, 2 already done"
    assert lines[1].startswith("[1/1] ok       new on digits-binary, seed 2 ")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(elsewhere.glob("cells/*.json"))) == 7
    assert list(read_results(elsewhere).label) == ["vae", "another name", "new"]
