"""The pictures of a run: of the first seed of each row, beside the records, which know nothing of them."""

import json
import shutil

import pytest

import vaezoo
from vaezoo.core.errors import VaezooWarning
from vaezoo.reports.pictures import stored_pictures
from vaezoo.runner.merge import merge
from vaezoo.runner.plan.stored import first_seeds
from vaezoo.runner.store import Store
from vaezoo.runner.work import draw


@pytest.fixture
def copy(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    return folder


def files(folder):
    return {path.stem: path.read_bytes() for path in (folder / "figures").glob("*.npz")}


def test_the_first_seed_of_each_row_has_pictures(finished):
    store = Store(finished.folder)
    cells = store.plan().cells
    first = [cell.stem for cell in cells if cell.seed == 0]
    assert first_seeds(cells) == first
    assert sorted(files(finished.folder)) == sorted(first)
    for stem in first:
        assert stored_pictures(finished.folder, stem).samples.shape == (64, 8, 8, 1)
        record = store.read("cells", stem)
        assert not any("figures" in path for path in record.files)
    assert f"figures: {finished.folder.relative_to(finished.matrix.parent) / 'figures'}" in finished.done.out


def test_the_history_of_a_run_is_a_frame(finished):
    found = vaezoo.read_history(finished.folder)
    assert list(found.columns[:5]) == ["label", "variant", "dataset", "seed", "epoch"]
    store = Store(finished.folder)
    for cell in store.plan().cells:
        own = found[(found["label"] == cell.label) & (found["seed"] == cell.seed)]
        assert own["epoch"].tolist() == [1, 2]
        history = json.loads(store.path("cells", cell.stem).read_text())["history"]
        for name in ("objective", "validation_iwll", "seconds"):
            values = [float("nan") if value is None else value for value in history[name]]
            assert own[name].tolist() == pytest.approx(values, nan_ok=True)
    assert len(found) == 8


def test_the_command_makes_what_is_missing_from_the_weights(copy, finished, shell):
    """The same bytes as in the run, and a line for each row whose weights are gone."""
    before = files(copy)
    [one, other] = first_seeds(Store(copy).plan().cells)
    for stem in (one, other):
        Store(copy).path("figures", stem).unlink()
    Store(copy).path("checkpoints", other).unlink()
    done = shell("figures", copy, "--device", "cpu")
    assert done.code == 0, done
    assert files(copy) == {one: before[one]}
    lines = done.out.splitlines()
    assert str(copy / "figures" / "vae--digits-binary" / "samples.png") in lines
    wanted = "no pictures of beta-vae on digits-binary: the weights of seed 0 were not kept (--keep-weights); run it "
    assert lines[-1] == wanted + "again with --force"
    assert shell.wrong("figures", copy / "cells").endswith("give the folder that `vaezoo run` wrote to")


def test_a_merge_takes_the_pictures_along(copy, tmp_path):
    merge([copy], tmp_path / "out")
    assert files(tmp_path / "out") == files(copy)
    [stem, _] = first_seeds(Store(copy).plan().cells)
    Store(tmp_path / "out").path("figures", stem).unlink()
    merge([copy], tmp_path / "out")
    assert files(tmp_path / "out") == files(copy)


def test_a_damaged_file_is_left_out(copy):
    [stem, _] = first_seeds(Store(copy).plan().cells)
    Store(copy).path("figures", stem).write_bytes(b"no zip")
    with pytest.warns(VaezooWarning, match=r"\.npz is damaged: File is not a zip file; it is left out"):
        assert stored_pictures(copy, stem) is None
    assert stored_pictures(copy, "another") is None


def test_pictures_that_fail_cost_the_cell_nothing(tmp_path, monkeypatch, capsys):
    from vaezoo.api import plan_of
    from vaezoo.runner.work.cell import run_pack

    table = {"datasets": ["digits-binary"], "model": {"latent": 2, "hidden": [4]}, "train": {"epochs": 1}, "seeds": 2}
    table |= {"evaluate": {"importance_samples": 5, "throughput": False}, "variants": [{"name": "vae"}]}
    plan, _ = plan_of(table, device="cpu")
    store = Store(tmp_path)
    store.prepare()
    tasks = [plan.task(cell, tmp_path) for cell in plan.cells]
    assert [task.pictures for task in tasks] == [True, False]

    def broken(*given):
        raise RuntimeError("no ink")

    monkeypatch.setattr(draw, "pictures", broken)
    assert run_pack(tasks, "cpu") == ["ok", "ok"]
    assert "no pictures of vae on digits-binary, seed 0: RuntimeError: no ink" in capsys.readouterr().err.splitlines()
    assert all(store.record("cells", cell.stem, cell).log is None for cell in plan.cells)
    assert not files(tmp_path)
