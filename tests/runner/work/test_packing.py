"""On a CPU the seeds of a pack train together where that is measured to be faster, and else one by one."""

import json

import pytest

from vaezoo.api import plan_of
from vaezoo.core.errors import VaezooError
from vaezoo.runner.store import Store
from vaezoo.runner.work import packing
from vaezoo.runner.work.cell import _prepared, run_pack

MATRIX = {
    "datasets": ["digits-binary"],
    "seeds": 3,
    "pack": 3,
    "model": {"latent": 2, "hidden": [4]},
    "train": {"epochs": 2, "batch_size": 150},
    "evaluate": {"importance_samples": 5, "throughput": False},
    "variants": [{"name": "vae"}],
}
ALONE = "trained alone, not with seeds [0, 1, 2]: "


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(packing.SETTING, raising=False)
    return tmp_path / "cache" / "vaezoo" / "packs"


@pytest.fixture(scope="module")
def plan():
    return plan_of(MATRIX, device="cpu")[0]


def timer(monkeypatch, alone, together):
    """Seconds of a step in place of the clock; a list of what was timed."""
    timed, seconds = [], {packing.ALONE: alone, packing.TOGETHER: together}
    monkeypatch.setattr(packing, "seconds_of", lambda way, step, order: timed.append(way) or seconds[way])
    return timed


def records(plan, folder):
    """Of a run of all seeds."""
    tasks = [plan.task(cell, folder) for cell in plan.cells]
    assert run_pack(tasks, "cpu") == ["ok"] * 3
    return [json.loads(Store(folder).path("cells", cell.stem).read_text()) for cell in plan.cells]


@pytest.mark.parametrize(("together", "packed"), [(2.9, True), (2.92, False), (3.4, False)])
def test_the_faster_way_is_taken_and_kept(monkeypatch, plan, tmp_path, cache, together, packed):
    """A step of one seed takes a second; a pack is taken only where it saves 3 % of three."""
    timed = timer(monkeypatch, 1.0, together)
    found = records(plan, tmp_path / "one")
    assert timed == [packing.ALONE, packing.TOGETHER] * (1 + packing.ROUNDS)
    assert [record.get("pack") for record in found] == [[0, 1, 2] if packed else None] * 3
    assert [record["warnings"] for record in found] == [
        [] if packed else [ALONE + "that is faster on this machine"]
    ] * 3
    [kept] = cache.glob("*.json")
    assert json.loads(kept.read_text())["chosen"] == {packing.SEEDS: packing.TOGETHER if packed else packing.ALONE}
    timed = timer(monkeypatch, together, 1.0)
    again = records(plan, tmp_path / "other")
    assert timed == []
    assert [record.get("pack") for record in again] == [record.get("pack") for record in found]


def test_measuring_changes_no_number(monkeypatch, plan, tmp_path):
    """By the real clock; and the setting decides without it."""

    def facts(folder):
        """What does not hang on the clock."""
        return [
            {n: v for n, v in each["results"].items() if "seconds" not in n and "memory" not in n} for each in folder
        ]

    times = packing.measured([plan.task(cell, tmp_path) for cell in plan.cells], lambda tasks: _prepared(tasks, "cpu"))
    assert times.keys() == {packing.SEEDS}
    assert all(0 < seconds < 10 for seconds in times[packing.SEEDS].values())
    measured = records(plan, tmp_path / "measured")
    way = packing.TOGETHER if "pack" in measured[0] else packing.ALONE
    monkeypatch.setenv(packing.SETTING, way.upper())
    timed = timer(monkeypatch, 1.0, 1.0)
    assert facts(records(plan, tmp_path / "set")) == facts(measured)
    assert timed == []


def test_the_setting_decides(monkeypatch, plan, tmp_path, shell, matrix_file):
    timed = timer(monkeypatch, 1.0, 0.1)
    monkeypatch.setenv(packing.SETTING, "alone")
    assert [record["warnings"] for record in records(plan, tmp_path)] == [[ALONE + "VAEZOO_PACKS is alone"]] * 3
    assert timed == []
    monkeypatch.setenv(packing.SETTING, "apart")
    with pytest.raises(VaezooError, match="VAEZOO_PACKS is 'apart'; set it to together or alone, or leave it unset"):
        packing.given()
    path = matrix_file(tmp_path / "m.toml", ["vae"])
    done = shell("run", path.name, cwd=tmp_path, env={packing.SETTING: "apart"})
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "VAEZOO_PACKS is 'apart'" in done.err


def test_where_nothing_can_be_kept_they_train_one_by_one(monkeypatch, plan, tmp_path):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    timed = timer(monkeypatch, 1.0, 0.1)
    assert all("pack" not in record for record in records(plan, tmp_path / "results"))
    assert timed == []


def test_a_damaged_choice_is_measured_again(monkeypatch, plan, tmp_path, cache):
    timer(monkeypatch, 1.0, 0.1)
    tasks = [plan.task(cell, tmp_path) for cell in plan.cells]
    make = lambda tasks: _prepared(tasks, "cpu")  # noqa: E731
    assert packing.why_alone(tasks, "cpu", make) is None
    [kept] = cache.glob("*.json")
    kept.write_text("{")
    timed = timer(monkeypatch, 1.0, 9.0)
    assert packing.why_alone(tasks, "cpu", make) == "that is faster on this machine"
    assert timed
    assert packing.why_alone(tasks[:2], "cpu", make) is not None
    assert len(list(cache.glob("*.json"))) == 2  # of another number of seeds


def test_on_cuda_and_where_a_plugin_fails_they_are_packed(plan, tmp_path, cache):
    """Whoever packs them finds out what is wrong."""

    def fails(tasks):
        raise RuntimeError("not now")

    tasks = [plan.task(cell, tmp_path) for cell in plan.cells]
    assert packing.why_alone(tasks, "cuda:0", fails) is None
    assert packing.why_alone(tasks, "cpu", fails) is None
    assert not list(cache.glob("*.json"))
