"""Damaged records, plans, weights, progress and per-image values: none is taken for a result, none blocks the rest."""

import contextlib
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_tasks import a_cell, resealed, unsealed

import vaezoo
from vaezoo.api import plan_of
from vaezoo.cli.display import status_lines
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.runner.children.child import described
from vaezoo.runner.files import LARGEST_LOG, DamagedFile, read_file
from vaezoo.runner.records import CellProgress, Record, reason_of
from vaezoo.runner.results import read_results
from vaezoo.runner.selection import Selection
from vaezoo.runner.store import Store, read_record

SECRET = b"what stands outside"
VALUES: list[Any] = [
    None,
    True,
    -1,
    2**63,
    10**400,
    1e300,
    float("nan"),
    float("-inf"),
    "",
    "text",
    "\ud800",
    "\x1b[2J",
    "../../outside",
    [],
    [[[]]],
    {},
    {"a": None},
]
"""What is written in place of a value."""


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy of the finished run, beside a file that nothing may read or write."""
    (tmp_path / "outside").write_bytes(SECRET)
    shutil.copytree(finished.folder, tmp_path / "results")
    (tmp_path / "results" / "running").mkdir(exist_ok=True)
    return tmp_path / "results"


# --- what is done to a file


def truncated(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def flipped(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 1, 8))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def renumbered(path: Path, chance: random.Random) -> None:
    """Another digit in a number, as by hand."""
    content = bytearray(path.read_bytes())
    place = chance.choice([place for place, each in enumerate(content) if each in b"0123456789"])
    content[place] = chance.choice([each for each in b"123456789" if each != content[place]])
    path.write_bytes(content)


def overwritten(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.choice((b"", b"\0" * 4096, b"null", b"[]", b"{}", chance.randbytes(2000), b"\xff\xfe")))


def nested(path: Path, chance: random.Random) -> None:
    depth, (start, end) = chance.choice((40, 900, 100_000)), chance.choice((("[", "]"), ('{"a":', "}")))
    deep = start * depth + ("1" if start != "[" else "") + end * depth
    path.write_text(chance.choice((deep, f'{{"label": {deep}}}', path.read_text("latin-1")[:-2] + f', "x": {deep}}}')))


def longer(path: Path, chance: random.Random) -> None:
    """A sparse file of hostile size, or a whole number of thousands of digits."""
    if chance.random() < 0.5:
        os.truncate(path, 2**40)
    else:
        path.write_text(f'{{"seed": {"9" * chance.choice((4000, 5000, 100_000))}}}')


def replaced(path: Path, chance: random.Random) -> None:
    """Something that is no regular file."""
    path.unlink()
    outside = path.parents[1] / "outside" if path.name == "plan.json" else path.parents[2] / "outside"
    kind = chance.choice(("pipe", "zero", "file", "loop", "nowhere", "folder", "itself"))
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        to = {"zero": "/dev/zero", "file": outside, "loop": path, "nowhere": "/nowhere", "itself": path.parent}[kind]
        path.symlink_to(to)


def retyped(path: Path, chance: random.Random) -> None:
    """Another value in a field of any depth, with the right digest, none, or the old one."""
    if path.suffix != ".json":
        return flipped(path, chance)
    value = json.loads(path.read_text())
    place: Any = value
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if isinstance(place[key], dict | list) and place[key] and chance.random() < 0.7:
            place = place[key]
            continue
        break
    if isinstance(place, dict) and chance.random() < 0.2:
        del place[key]
    else:
        place[key] = chance.choice(VALUES)
    seal = chance.choice((resealed, resealed, unsealed, lambda same: same))
    path.write_text(json.dumps(seal(value)))


DAMAGES: tuple[Callable[[Path, random.Random], Any], ...] = (
    truncated,
    flipped,
    renumbered,
    renumbered,
    overwritten,
    nested,
    longer,
    replaced,
    retyped,
    retyped,
    retyped,
)


def files_of(folder: Path) -> list[Path]:
    """A file of each kind of the run: a record, a timing, weights, per-image values, the plan, a progress."""
    stem = sorted(path.stem for path in (folder / "cells").glob("*.json"))[0]
    progress = folder / "running" / f"{stem}.json"
    progress.write_text(json.dumps(vars(CellProgress(1, 5, -100.5, None, 2.5, 17))))
    return [
        folder / "cells" / f"{stem}.json",
        folder / "cells" / f"{stem}.json",
        next((folder / "timings").glob("*.json")),
        folder / "checkpoints" / f"{stem}.safetensors",
        folder / "cells" / f"{stem}.npz",
        folder / "plan.json",
        progress,
    ]


def check_reads(folder: Path, whole: dict[str, Any], damaged: Path) -> None:
    """Read all of a folder in which one file is damaged. Only that file's numbers may be missing or, where it is
    sealed again, other.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with contextlib.suppress(VaezooError) if damaged.name == "plan.json" else contextlib.nullcontext():
            frame = read_results(folder)
            assert len(frame) == len(whole["frame"])
            for place in range(len(frame)):
                one, other = frame.iloc[place], whole["frame"].iloc[place]
                if damaged.suffix != ".json" or damaged.name.split("--")[:3] != whole["stems"][place].split("--")[:3]:
                    assert damaged.name == "plan.json" or one["iwll"] == other["iwll"]
            assert all(line.isprintable() for line in status_lines(folder))
        for path in sorted((folder / "cells").glob("*.json")):
            store, record = Store(folder), None
            with contextlib.suppress(VaezooError):
                record = read_record(path)
                vaezoo.load_model(path)
                assert damaged != path.parents[1] / "checkpoints" / f"{path.stem}.safetensors" or whole["same"](damaged)
            if record is not None:
                with contextlib.suppress(VaezooError):
                    store.images(path.stem, record)
                    assert damaged != path.with_suffix(".npz") or whole["same"](damaged)
    assert all(issubclass(each.category, VaezooWarning) for each in said)
    assert all(str(each.message).isprintable() for each in said)


def assert_none_is_taken(folder: Path, seeds: range) -> None:
    whole: dict[str, Any] = {"frame": read_results(folder)}
    whole["stems"] = [cell.stem for cell in Store(folder).plan().cells]
    files = files_of(folder)
    kept = {path: path.read_bytes() for path in files}
    whole["same"] = lambda path: path.is_file() and path.stat().st_size < 2**30 and path.read_bytes() == kept[path]
    taken = 0
    for seed in seeds:
        chance = random.Random(seed)
        path, damage = chance.choice(files), chance.choice(DAMAGES)
        damage(path, chance)
        try:
            check_reads(folder, whole, path)
            taken += is_taken_for_another(path, kept[path])
        except Exception as error:
            error.add_note(f"seed {seed}: {damage.__name__} {path.name}")
            raise
        finally:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
            path.write_bytes(kept[path])
    assert taken == 0
    assert (folder.parent / "outside").read_bytes() == SECRET
    assert sorted(each.name for each in folder.parent.iterdir()) == ["outside", "results"]


def is_taken_for_another(path: Path, before: bytes) -> bool:
    """Whether a record that was damaged without a new digest reads as a verified one with another content."""
    if path.parent.name not in ("cells", "timings") or path.suffix != ".json":
        return False
    try:
        record = read_record(path)
    except DamagedFile:
        return False
    value = json.loads(before)
    if record is None or not record.is_verified or json.loads(path.read_bytes())["digest"] != value["digest"]:
        return False
    return record != Record.from_json(value)


def test_a_hundred_damages(folder):
    assert_none_is_taken(folder, range(100))


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(10))
def test_a_thousand_damages(folder, part):
    assert_none_is_taken(folder, range(1000 + 100 * part, 1100 + 100 * part))


# --- single kinds


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
