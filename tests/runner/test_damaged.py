"""Damaged records, plans, values and logs: each is named in one line, set aside by a run, and the rest is read."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_tasks import a_cell, unsealed

from vaezoo.api import plan_of
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.runner.children.child import described
from vaezoo.runner.files import LARGEST_LOG, DamagedFile, read_file
from vaezoo.runner.records import Record, reason_of
from vaezoo.runner.results import read_results
from vaezoo.runner.selection import Selection
from vaezoo.runner.store import Store

SECRET = b"what stands outside"


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished.folder, tmp_path / "results"))


@pytest.mark.parametrize(
    ("kind", "said"),
    [("pipe", "got a pipe"), ("zero", "got a link"), ("folder", "got a folder"), ("sparse", "bytes, expected")],
)
def test_only_regular_files_of_a_fair_size_are_read(tmp_path, kind, said):
    path = tmp_path / "a.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 2**40)
    with pytest.raises(DamagedFile, match=rf"a\.json .*{said}"):
        read_file(path, 1000)


def test_a_device_is_not_read():
    with pytest.raises(DamagedFile, match="expected a regular file, got a device or a socket"):
        read_file(Path("/dev/zero"), 1000)


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_damaged_record_is_left_out_with_one_line_and_the_rest_is_read(folder, shell):
    path = sorted((folder / "cells").glob("*.json"))[0]
    edited(path, results={"iwll": 0.0})
    said = "is damaged: it has been changed: its digest is not that of its content; it is left out, and `vaezoo run`"
    with pytest.warns(VaezooWarning, match=said):
        frame = read_results(folder)
    assert sorted(frame.status) == ["missing", "ok", "ok", "ok"]
    for command in ("status", "tables"):
        done = shell(command, folder)
        assert done.code == 0
        assert done.err.splitlines() == [
            f"warning: {path} is damaged: it has been changed: its digest is not that of its content; "
            "it is left out, and `vaezoo run` sets it aside and runs the cell again"
        ]
    assert path.exists()


def test_a_run_sets_damaged_records_aside_and_runs_their_cells_again(folder, shell, finished):
    first, second, *others = sorted((folder / "cells").glob("*.json"))
    numbers = json.loads(first.read_text())["results"]["iwll"]
    edited(first, results={"iwll": 0.0})
    second.write_bytes(others[0].read_bytes())
    (folder / "damaged").mkdir()
    (folder / "damaged" / first.name).write_text("of an earlier run")
    left = folder / "cells" / f".{first.name}.abcd1234"
    left.write_text("of a killed process")
    os.utime(left, (0, 0))
    (folder / "plan.json").write_text("{")
    done = shell("run", finished.matrix, "--out", folder, "--jobs", 1, "--device", "cpu")
    assert done.code == 0, done.err
    assert "cells: 2 to run, 2 already done" in done.out
    plan, one, other = done.err.splitlines()
    assert plan.endswith(f"it is now {folder / 'damaged' / 'plan.json'}")
    moved = folder / "damaged" / f"{first.stem}.2.json"
    assert one.endswith(f"its digest is not that of its content; it is now {moved}, and the cell runs again")
    assert f"{second} is damaged: it is another cell's: its key is not that of the plan" in other
    assert json.loads(moved.read_text())["results"] == {"iwll": 0.0}
    assert (folder / "damaged" / first.name).read_text() == "of an earlier run"
    assert json.loads(first.read_text())["results"]["iwll"] == numbers
    assert not left.exists()


def test_a_record_that_is_not_its_plans_is_not_taken(folder, finished):
    """Where a record has no digest, its label and data set must be the plan's too."""
    plan, _ = plan_of(finished.matrix, device="cpu")
    store = Store(folder)
    assert Selection().pending(plan.cells, store) == []
    for name, value in (("label", "another"), ("dataset", "another"), ("key", "0" * 64), ("seed", 7)):
        path = store.path("cells", plan.cells[0].stem)
        before = path.read_bytes()
        path.write_text(json.dumps({**unsealed(json.loads(before)), name: value}))
        with pytest.warns(VaezooWarning, match="is damaged: "):
            assert Selection().pending(plan.cells, store) == [plan.cells[0]], name
        path.write_bytes(before)


def test_per_image_values_are_those_of_the_record(folder):
    store = Store(folder)
    stem = store.plan().cells[0].stem
    record = store.record("cells", stem)
    values = store.images(stem, record)
    assert values["iwll"].mean() == pytest.approx(record.results["iwll"], rel=1e-5)
    path = store.path("images", stem)
    path.write_bytes(store.path("images", store.plan().cells[1].stem).read_bytes())
    with pytest.raises(DamagedFile, match=r"the per-image values .* are not those of the record"):
        store.images(stem, record)
    path.unlink()
    assert store.images(stem, record) == {}


def test_the_log_of_a_cell_is_a_new_file_of_bounded_length(shell, tmp_path):
    """Whatever stands at its place: a link is not followed. A record's log is cut when the record is written."""
    (tmp_path / "outside").write_bytes(SECRET)
    store, cell = Store(tmp_path / "results"), a_cell()
    log = store.path("logs", cell.stem)
    log.parent.mkdir(parents=True)
    log.symlink_to(tmp_path / "outside")
    shell.python(
        "import os; from vaezoo.runner.children.child import print_to\n"
        f"print_to({str(log)!r})\n"
        f"os.write(1, b'first\\n' + b'x' * {3 * LARGEST_LOG})\n"
        "print('last')\n"
    )
    assert (tmp_path / "outside").read_bytes() == SECRET
    assert log.stat().st_size > 3 * LARGEST_LOG
    record = store.write(cell, replace(Record.of(cell, "failed", "why"), log=f"logs/{log.name}"))
    assert log.stat().st_size < LARGEST_LOG + 200
    assert log.read_text().startswith("first\n")
    assert log.read_text().endswith("last\n")
    assert record.files == {}
    assert store.record("cells", cell.stem, cell) == record


def test_a_newer_record_is_refused_and_left_as_it_is(tmp_path):
    store, cell = Store(tmp_path), a_cell()
    store.prepare()
    store.write(cell, Record.of(cell, "failed", "why"))
    path = store.path("cells", cell.stem)
    edited(path, format=99)
    said = r": a newer vaezoo wrote it \(format 99; this one reads up to 2\): update vaezoo"
    with pytest.warns(VaezooWarning, match=rf"{said}; it is left out$"):
        assert store.record("cells", cell.stem, cell) is None
    (tmp_path / "plan.json").write_text("damaged")
    with pytest.raises(VaezooError, match=rf"{said}, or give another folder with --out$"):
        store.set_aside_damaged([cell])
    assert json.loads(path.read_text())["format"] == 99
    (tmp_path / "plan.json").write_text('{"format": 99}')
    with pytest.raises(VaezooError, match=rf"plan.json{said}, or give another folder with --out$"):
        store.set_aside_damaged([])
    assert not (tmp_path / "damaged").exists()


@pytest.mark.parametrize("seconds", [-1e300, 1e300])
def test_a_record_that_could_not_be_read_again_is_not_written(tmp_path, seconds):
    """Nor is the record of that failure such a one."""
    store, cell = Store(tmp_path), a_cell()
    store.prepare()
    written = store.write(cell, replace(Record.of(cell, "ok"), results={"iwll": -1.0}, seconds=seconds))
    assert store.record("cells", cell.stem, cell) == written


def test_an_error_whose_text_raises_has_its_type_as_reason():
    class Wrong(Exception):
        def __str__(self):
            raise RuntimeError

    assert (reason_of(Wrong()), described(Wrong())) == ("Wrong", "Wrong")


@pytest.mark.parametrize("name", ["claims", "cells", "logs"])
def test_a_pipe_in_place_of_a_folder_is_named(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(VaezooError, match=rf"/{name} is no folder; move it away, or give another folder with --out"):
        Store(tmp_path).prepare()
