"""Locks on devices: cells share a device, a timing waits for it, and its record says what disturbed it."""

import json
import os
import sys
import time
from types import SimpleNamespace

import pytest

from vaezoo.core.errors import VaezooWarning
from vaezoo.reports.tables import tables
from vaezoo.runner.machine import sharing
from vaezoo.runner.results import read_results


@pytest.mark.skipif(sharing.fcntl is None, reason="no fcntl")
def test_a_gpu_is_the_same_by_both_its_names(monkeypatch, tmp_path):
    monkeypatch.setenv("VAEZOO_LOCKS", str(tmp_path))
    monkeypatch.setattr(sharing, "_others", lambda device, before: None)
    monkeypatch.setattr(sharing, "PATIENCE", 0.0)
    with sharing.device_use("cuda:0"), sharing.device_use("cuda", alone=True) as said:
        pass
    assert said == ["timed while another run used cuda, which had not ended after 0 s"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def held(monkeypatch):
    """A cell of another run, which ends when the timing that waits for it has looked three times."""
    monkeypatch.setattr(sharing, "_others", lambda device, before: None)  # other programs do not matter here
    cell = sharing.device_use("cpu-test")
    cell.__enter__()
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            cell.__exit__(None, None, None)

    monkeypatch.setattr(sharing, "time", SimpleNamespace(**{**vars(time), "sleep": sleep}))
    yield looks
    cell.gen.close()


needs_locks = pytest.mark.skipif(sharing.fcntl is None, reason="this system has no fcntl: runs do not see each other")


@needs_locks
def test_a_timing_waits_for_the_cells_of_other_runs(held, capsys):
    with sharing.device_use("cpu-test"):
        pass  # cells share it at once
    assert held == []
    with sharing.device_use("cpu-test", alone=True) as said:
        pass
    assert len(held) == 3
    assert said == []
    assert capsys.readouterr().err == "waiting for another run on cpu-test, at most 300 s\n"


@needs_locks
def test_a_cell_hands_on_that_it_waits(held, capfd, monkeypatch):
    said = []
    monkeypatch.setattr(sharing, "_tell", None)
    sharing.say_through(said.append)
    with sharing.device_use("cpu-test", alone=True):
        pass
    assert said == ["waiting for another run on cpu-test, at most 300 s"]
    assert capfd.readouterr().err == ""


@needs_locks
def test_a_timing_that_has_lost_its_patience_says_so(held, monkeypatch):
    monkeypatch.setattr(sharing, "PATIENCE", 0.0)
    with sharing.device_use("cpu-test", alone=True) as said:
        pass
    assert said == ["timed while another run used cpu-test, which had not ended after 0 s"]


@needs_locks
def test_another_process_sees_the_lock(held, shell):
    code = (
        "from vaezoo.runner.machine import sharing; sharing.PATIENCE = 0.0\n"
        "sharing._others = lambda device, before: None\n"
        "with sharing.device_use('cpu-test', alone=True) as said:\n    print(len(said))"
    )
    assert shell.python(code) == "1\n"


def test_locks_are_in_the_users_own_folder_unless_another_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("VAEZOO_LOCKS", str(tmp_path / "chosen"))
    assert sharing.lock_path("cpu").parent == tmp_path / "chosen"
    assert sharing.lock_path("cuda") == sharing.lock_path("cuda:0") != sharing.lock_path("cuda:1")
    monkeypatch.delenv("VAEZOO_LOCKS")
    monkeypatch.setenv("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert sharing.lock_path("cpu").parent == tmp_path / "cache" / "vaezoo" / "locks"


@needs_locks
def test_without_a_lock_file_a_cell_warns_and_runs(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VAEZOO_LOCKS", str(tmp_path / "file"))
    monkeypatch.setattr(sharing, "_others", lambda device, before: None)
    ran = []
    with (
        pytest.warns(VaezooWarning, match="no lock on cpu-test.*set VAEZOO_LOCKS to a folder"),
        sharing.device_use("cpu-test"),
    ):
        ran.append("shared")
    with sharing.device_use("cpu-test", alone=True) as said:
        ran.append("alone")
    assert ran == ["shared", "alone"]
    assert len(said) == 1
    assert said[0].startswith("no lock on cpu-test")


def test_what_other_programs_did_meanwhile_is_said(monkeypatch):
    monkeypatch.setattr(
        sharing, "_processor", iter([(0.0, 0.0, 0.0), (10.0, 10.0 * (os.cpu_count() or 1), 1.0)]).__next__
    )
    with sharing.device_use("cpu-test", alone=True) as said:
        assert said == []
    assert len(said) == 1
    assert said[0].startswith("timed while other programs used ")


def test_of_a_moment_nothing_is_said(monkeypatch):
    """Processor time counts in hundredths of a second, which is more than this use lasted."""
    monkeypatch.setattr(sharing, "_processor", iter([(0.0, 0.0, 0.0), (0.001, 0.02, 0.0)]).__next__)
    with sharing.device_use("cpu-test", alone=True) as said:
        pass
    assert said == []


def test_work_of_ones_own_is_not_a_disturbance(monkeypatch):
    cores = os.cpu_count() or 1
    monkeypatch.setattr(sharing, "_processor", iter([(0.0, 0.0, 0.0), (10.0, 10.0 + 0.05 * cores, 10.0)]).__next__)
    with sharing.device_use("cpu-test", alone=True) as said:
        pass
    assert said == []


def test_a_timings_disturbance_stands_in_its_record_and_under_the_table(shell, matrix_file, tmp_path):
    rows = [{"name": "vae"}]
    changes = {"evaluate": {"throughput": True, "importance_samples": 5}, "seeds": 2}
    path = matrix_file(tmp_path / "m.toml", rows, **changes)
    out = tmp_path / "out"
    shell.python(
        "from vaezoo.runner.machine import sharing; sharing._others = lambda device, before: 'timed in a storm of 3'\n"
        "from vaezoo.runner.work.cell import run_cell\n"
        "from vaezoo.runner.matrix.file import load; from vaezoo.runner.plan.planner import make_plan\n"
        "from vaezoo.runner.store import Store\n"
        f"plan = make_plan(load({str(path)!r})); store = Store({str(out)!r}); store.prepare()\n"
        "store.write_plan(plan.stored())\n"
        "for cell in [*plan.cells, plan.timings[plan.cells[0].stem]]:\n"
        "    run_cell(plan.task(cell, store.folder), 'cpu')\n",
        cwd=tmp_path,
    )
    [record] = [json.loads(path.read_text()) for path in (out / "timings").glob("*.json")]
    assert record["warnings"] == ["timed in a storm of 3"]
    frame = read_results(out)
    assert frame["warnings"].tolist() == ["timed in a storm of 3"] * 2
    [table] = tables(frame)
    assert table.markdown().count("timed in a storm of 3") == 1
