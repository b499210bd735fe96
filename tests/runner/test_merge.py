"""`vaezoo merge`: folders of shards of one matrix become one folder, and nothing is overwritten in silence."""

import json
import shutil
from pathlib import Path

import pytest
from small_tasks import resealed

import vaezoo
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.runner.merge import merge
from vaezoo.runner.results import read_results
from vaezoo.runner.store import Store


@pytest.fixture
def shards(finished, tmp_path) -> list[Path]:
    """The finished run in three folders: each has the plan, and the first, second or other cells with their files."""
    stems = [cell.stem for cell in Store(finished.folder).plan().cells]
    folders = []
    for number, own in enumerate((stems[:1], stems[1:2], stems[2:])):
        folder = tmp_path / f"shard-{number}"
        for name in ("cells", "checkpoints", "timings"):
            (folder / name).mkdir(parents=True)
        shutil.copy(finished.folder / "plan.json", folder)
        for stem in own:
            for path in finished.folder.glob(f"c*/{stem}.*"):
                shutil.copy(path, folder / path.relative_to(finished.folder))
        folders.append(folder)
    for path in finished.folder.glob("timings/*.json"):
        shutil.copy(path, folders[1] / "timings")
    return folders


def contents(folder: Path) -> dict[str, bytes]:
    found = [path for name in ("cells", "checkpoints", "timings") for path in (folder / name).glob("*")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def edit(folder: Path, place: int, **changes: object) -> Path:
    """Change the record of a cell, and give it the digest of what it holds then."""
    store = Store(folder)
    path = store.path("cells", store.plan().cells[place].stem)
    path.write_text(json.dumps(resealed(json.loads(path.read_text()) | changes)))
    return path


def test_shards_become_the_one_run(shards, finished, tmp_path, shell):
    done = shell("merge", *shards, tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"5 records joined into {tmp_path / 'out'}: 4 ok"
    assert contents(tmp_path / "out") == contents(finished.folder)
    tables = [
        {path.name: path.read_bytes() for path in (f / "tables").iterdir()} for f in (tmp_path / "out", finished.folder)
    ]
    assert tables[0] == tables[1]
    assert read_results(tmp_path / "out").equals(read_results(finished.folder))
    again = shell("merge", tmp_path / "out", shards[0], tmp_path / "out")
    assert again.out.splitlines()[0].startswith("0 records joined")
    for path in (tmp_path / "out").glob("cells/*.json"):
        vaezoo.load_model(path)


def test_a_result_is_taken_before_a_failure(shards, finished, tmp_path):
    first = shards[0]
    stem = Store(first).plan().cells[0].stem
    shutil.copytree(first, tmp_path / "out")
    (tmp_path / "out" / "logs").mkdir()
    (tmp_path / "out" / "logs" / f"{stem}.log").write_text("why")
    edit(tmp_path / "out", 0, status="failed", reason="why", results={}, log=f"logs/{stem}.log")
    merge(shards, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(finished.folder)
    assert not (tmp_path / "out" / "logs" / f"{stem}.log").exists()
    edit(first, 0, status="timeout", reason="later", results={})
    merge(shards, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(finished.folder)


@pytest.mark.parametrize("into", ["new", "existing"])
def test_other_results_of_one_cell_are_reported_and_not_overwritten(shards, finished, tmp_path, shell, into):
    whole, out = tmp_path / "whole", tmp_path / "out"
    shutil.copytree(finished.folder, whole)
    results = json.loads(edit(whole, 0).read_text())["results"]
    changed = edit(whole, 0, results=results | {"iwll": -1.0, "train_seconds": 0.0})
    edit(whole, 1, results=json.loads(edit(whole, 1).read_text())["results"] | {"train_seconds": 0.0}, seconds=9.0)
    if into == "existing":
        shutil.copytree(shards[0], out)
    before = (shards[0] / "cells" / changed.name).read_bytes()
    done = shell("merge", shards[0], whole, out)
    assert done.code == 1
    kept = out if into == "existing" else shards[0]
    assert done.err == (
        f"conflict: {changed.stem}: {whole} and {kept} differ in results iwll; that of {kept} is kept\n"
    )
    assert (out / "cells" / changed.name).read_bytes() == before
    assert "joined into" in done.out


def test_a_damaged_record_is_left_out_and_replaced_by_a_good_one(shards, finished, tmp_path):
    path = next((shards[0] / "cells").glob("*.json"))
    shutil.copytree(shards[0], tmp_path / "out")
    for folder in (shards[0], tmp_path / "out"):
        (folder / "cells" / path.name).write_text("{")
    with pytest.warns(VaezooWarning, match="is damaged: it is no JSON"):
        merge([shards[0], finished.folder], tmp_path / "out")
    assert contents(tmp_path / "out") == contents(finished.folder)
    assert (tmp_path / "out" / "damaged" / path.name).read_text() == "{"


def test_weights_that_are_not_those_of_their_record_are_left_out(shards, finished, tmp_path):
    weights = next((shards[0] / "checkpoints").iterdir())
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    merged = merge(shards, tmp_path / "out")
    assert merged.conflicts == []
    assert len(merged.left_out) == 1
    assert f"the weights {weights} are not those of the record" in merged.left_out[0]
    missing = set(contents(finished.folder)) - set(contents(tmp_path / "out"))
    assert missing == {f"checkpoints/{weights.name}"}


def test_another_plan_is_refused(shards, finished, tmp_path, shell):
    plan = json.loads((shards[2] / "plan.json").read_text())
    changes = [
        ({"name": "second"}, "its matrix is 'second', not 'first'"),
        ({"cells": plan["cells"][:3]}, "it has 3 cells, not 4"),
        ({"cells": [*plan["cells"][:3], plan["cells"][0]]}, f"its cell 4 is {plan['cells'][0]['stem']}, not"),
        ({"protocol": 1}, "its protocol is 1, not"),
    ]
    for change, said in changes:
        (shards[2] / "plan.json").write_text(json.dumps(resealed(plan | change)))
        with pytest.raises(VaezooError, match=f"{shards[2]} holds the results of another plan: {said}"):
            merge(shards, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "holds the results of another plan" in shell.wrong("merge", *shards, tmp_path / "out")
    assert "holds no results of a matrix" in shell.wrong("merge", shards[0], tmp_path / "nowhere", tmp_path / "out")


def test_timings_of_several_machines_are_joined(shards, tmp_path):
    """A timing's key names its device: each plan names its own, and a cell has that of which there is a record."""
    store = Store(shards[0])
    plan = json.loads((shards[0] / "plan.json").read_text())
    for cell in plan["cells"]:
        cell["timing"] = cell["timing"] and "vae--digits-binary--timing--000000000000"
    (shards[0] / "plan.json").write_text(json.dumps(resealed(plan)))
    assert store.plan().cells[0].timing.endswith("--000000000000")
    merge(shards, tmp_path / "out")
    assert read_results(tmp_path / "out").train_images_per_second[:2].notna().all()
