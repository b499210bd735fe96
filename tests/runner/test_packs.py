"""Packs of seeds in a run: each seed keeps its own record, and a pack that fails is run again, seed by seed."""

import gc
import json
import weakref

import pytest
from small_tasks import a_task

from vaezoo.runner.matrix.file import load
from vaezoo.runner.plan.planner import make_plan
from vaezoo.runner.run import MOST_PACKED, packs, unfinished
from vaezoo.runner.work import cell

PLUGIN = '''
import math, os, time

import torch, vaezoo
from vaezoo.core.torch_internals import transform_active
from vaezoo.objectives.elbo import ELBO


@vaezoo.register.dataset("tiny")
def tiny(root, seed):
    """Coins."""
    x = (torch.rand(60, 4, generator=torch.Generator().manual_seed(0)) > 0.5).to(torch.uint8)
    return vaezoo.Dataset(x[:40], x[40:50], x[50:], measure="binary")


class Packed(ELBO):
    """Knows when it is mapped over seeds."""

    def forward(self, draws):
        value = super().forward(draws)
        if transform_active():
            self.mapped()
        return value


@vaezoo.register.objective("dies")
class Dies(Packed):
    """Ends its process."""

    def mapped(self):
        os._exit(3)


@vaezoo.register.objective("hangs")
class Hangs(Packed):
    """Never ends."""

    def mapped(self):
        time.sleep(1000)


@vaezoo.register.objective("draws")
class Draws(ELBO):
    """Draws from torch's generator, which cannot be mapped."""

    def forward(self, draws):
        return super().forward(draws) + 0 * torch.rand(())


@vaezoo.register.objective("breaks")
class Breaks(ELBO):
    """Not finite for one seed: the one whose encoder begins with the largest weight."""

    def forward(self, draws):
        first = draws.model.encoder.net[0].weight.abs().max()
        return super().forward(draws) * torch.where(first > LIMIT, math.nan, 1.0)


LIMIT = 0.4998
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory, matrix_file):
    """A matrix of three seeds with each objective, run in packs of three and one by one."""
    here = tmp_path_factory.mktemp("packs")
    (here / "mine.py").write_text(PLUGIN)
    return here


def records(folder):
    found = [json.loads(path.read_text()) for path in sorted((folder / "cells").glob("*.json"))]
    return {(record["label"], record["seed"]): record for record in found}


def run(shell, matrix_file, folder, name, rows, **changes):
    changes = {"seeds": 3, "plugins": ["mine.py"], "datasets": ["tiny"], "pack": 3, "train": {"epochs": 2}, **changes}
    matrix_file(folder / f"{name}.toml", rows, **changes)
    done = shell("run", f"{name}.toml", "--jobs", 1, "--device", "cpu", cwd=folder)
    return done, records(folder / "results" / name)


def test_packed_and_single_runs_give_the_same_records(shell, matrix_file, folder):
    rows = ["vae", "iwae"]
    done, packed = run(shell, matrix_file, folder, "together", rows)
    assert (done.code, done.err) == (0, "")
    _, single = run(shell, matrix_file, folder, "apart", rows, pack=1)
    assert {(record["key"]) for record in packed.values()} == {record["key"] for record in single.values()}
    for title, record in packed.items():
        other = single[title]
        assert (record["pack"], "pack" in other) == ([0, 1, 2], False)
        assert record["status"] == other["status"] == "ok"
        assert record["best_epoch"] == other["best_epoch"]
        for column in ("iwll", "elbo", "kl", "reconstruction"):
            assert record["results"][column] == pytest.approx(other["results"][column], rel=1e-4, abs=1e-4)
        assert record["history"]["objective"] == pytest.approx(other["history"]["objective"], rel=1e-5)
        assert 0 < record["results"]["train_seconds"] < record["seconds"]
    assert len({record["results"]["iwll"] for record in packed.values()}) == 6


@pytest.mark.parametrize(
    ("objective", "timeout", "why"),
    [
        ("dies", None, "run alone after its pack of 3 had failed"),
        pytest.param("hangs", 3, "run alone after its pack of 3 had failed", marks=pytest.mark.nightly),
        ("draws", None, "trained alone, not with seeds [0, 1, 2]: the step cannot be mapped over seeds: vmap"),
    ],
)
def test_a_pack_that_fails_sends_its_seeds_back_one_by_one(shell, matrix_file, folder, objective, timeout, why):
    extra = {} if timeout is None else {"timeout": timeout}
    row = {"name": "vae", "objective": objective}
    done, found = run(shell, matrix_file, folder, objective, [row], **extra)
    assert done.code == 0, done
    assert "3 ok" in done.out.splitlines()
    assert [record["status"] for record in found.values()] == ["ok"] * 3
    for record in found.values():
        assert "pack" not in record
        assert any(warning.startswith(why) for warning in record["warnings"]), record["warnings"]


def test_a_seed_that_diverges_is_a_record_and_the_others_are_as_they_would_be(shell, matrix_file, folder):
    code = (
        "import sys, vaezoo; sys.path.insert(0, '.'); import mine; data = mine.tiny(None, 0)\n"
        "weights = lambda seed: vaezoo.build('vae', data, latent=2, hidden=(8,), seed=seed).encoder.net[0].weight\n"
        "print([float(weights(seed).abs().max().detach()) for seed in range(3)])"
    )
    largest = json.loads(shell.python(code, cwd=folder))
    worst = largest.index(max(largest))
    limit = (sorted(largest)[-1] + sorted(largest)[-2]) / 2
    (folder / "mine.py").write_text(PLUGIN.replace("LIMIT = 0.4998", f"LIMIT = {limit}"))
    rows = [{"name": "vae", "objective": "breaks"}]
    still = {"epochs": 2, "learning_rate": 1e-6}
    done, packed = run(shell, matrix_file, folder, "breaks", rows, train=still)
    assert done.code == 1
    _, single = run(shell, matrix_file, folder, "alone", rows, train=still, pack=1)
    assert [record["status"] for record in packed.values()].count("diverged") == 1
    assert packed["vae", worst]["reason"] == "the objective is nan at step 1 (epoch 1)"
    for title, record in packed.items():
        assert (record["status"], record["reason"]) == (single[title]["status"], single[title]["reason"])
        assert record["pack"] == [0, 1, 2]
        if record["status"] == "ok":
            line = 1 + PLUGIN.splitlines().index('@vaezoo.register.objective("breaks")')
            eager = [f"runs eagerly: objective Breaks (mine.py:{line}) does not declare replayable = True"]
            assert record["warnings"] == single[title]["warnings"] == eager
            assert record["results"]["iwll"] == pytest.approx(single[title]["results"]["iwll"], rel=1e-5)


def test_one_data_set_serves_a_pack_and_a_failed_pack_leaves_nothing_behind(monkeypatch, tmp_path):
    """What it was short of (memory, say) must be free for the single runs; the data are loaded once."""
    made, asked = [], []

    class Model:
        pass

    def prepare(task, device, dataset=None):
        model = Model()
        made.append(weakref.ref(model))
        asked.append(dataset)
        return model, object(), "the data", object()

    def fails(models, objectives, dataset, settings, **more):
        assert dataset == "the data"
        raise MemoryError("no room for so many")

    def alone(task, device, **more):
        gc.collect()
        assert [model() for model in made] == [None, None, None]
        return task.alone

    for name, value in (("prepare", prepare), ("train_pack", fails), ("run_cell", alone)):
        monkeypatch.setattr(cell, name, value)
    tasks = [a_task(tmp_path, seed) for seed in range(3)]
    said = "trained alone, not with seeds [0, 1, 2]: MemoryError: no room for so many"
    assert cell.run_pack(tasks, "cpu") == [said] * 3
    assert asked == [None, "the data", "the data"]


def plan_of(matrix_file, folder, **changes):
    path = matrix_file(folder / "plan.toml", ["vae", "iwae"], seeds=5, evaluate={"throughput": True}, **changes)
    return make_plan(load(path))


@pytest.mark.parametrize(
    ("pack", "device", "sizes"),
    [
        ("auto", "cpu", [1] * 10),
        ("auto", "cuda", [5, 5]),
        (1, "cuda", [1] * 10),
        (2, "cpu", [2, 2, 1, 2, 2, 1]),
        (100, "cuda:1", [5, 5]),
    ],
)
def test_the_seeds_of_a_row_are_packed_as_the_matrix_says(matrix_file, tmp_path, pack, device, sizes):
    plan = plan_of(matrix_file, tmp_path, pack=pack)
    made = packs(plan.cells, plan, device)
    assert [len(each) for each in made] == sizes
    assert [cell.stem for each in made for cell in each] == [cell.stem for cell in plan.cells]
    assert all(len({(cell.label, cell.dataset) for cell in each}) == 1 for each in made)
    timings = list({cell.stem: cell for cell in plan.timings.values()}.values())
    assert [len(each) for each in packs(timings, plan, device)] == [1, 1]
    assert MOST_PACKED >= 5


def test_a_pack_is_the_same_whatever_is_done_of_the_others(matrix_file, tmp_path):
    plan = plan_of(matrix_file, tmp_path, pack=2)
    every = packs(plan.cells, plan, "cpu")
    assert unfinished(every, plan.cells[1:6]) == [every[0][1:], every[1], every[2], every[3][:1]]
    assert unfinished(every, []) == []


def test_how_many_train_together_is_not_what_a_cell_is(matrix_file, tmp_path):
    keys = [[cell.key for cell in plan_of(matrix_file, tmp_path, pack=pack).cells] for pack in ("auto", 1, 3)]
    assert keys[0] == keys[1] == keys[2]


@pytest.mark.parametrize("value", [0, -1, 1.5, "all", True, []])
def test_a_pack_is_auto_or_a_number(shell, matrix_file, tmp_path, value):
    matrix_file(tmp_path / "m.toml", ["vae"], pack=value)
    line = shell.wrong("plan", "m.toml", cwd=tmp_path)
    assert line.startswith('m.toml: pack: expected "auto" or a whole number >= 1, got ')
