"""A thousand random damages to the files of a run: none is taken for a result, none blocks the rest."""

import contextlib
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_tasks import resealed, unsealed

import vaezoo
from vaezoo.cli.display import status_lines
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.runner.files import DamagedFile
from vaezoo.runner.records import CellProgress, Record
from vaezoo.runner.results import read_results
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
