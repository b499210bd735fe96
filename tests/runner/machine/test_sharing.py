"""Who else uses the device: cells share it, a timing waits for it, and what disturbed one stands in its record."""

import json
import os
import subprocess
import sys
import time

from vaezoo.reports.tables import tables
from vaezoo.runner.machine import sharing
from vaezoo.runner.store import read_results

HOLDER = """
import sys, time
from vaezoo.runner.machine.sharing import device_use
with device_use("cpu-test"):
    print('held', flush=True)
    time.sleep(float(sys.argv[1]))
"""


def test_a_gpu_is_the_same_by_both_its_names(monkeypatch, tmp_path):
    monkeypatch.setattr(sharing.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(sharing, "_others", lambda device, before: None)
    monkeypatch.setattr(sharing, "PATIENCE", 0.0)
    with sharing.device_use("cuda:0"), sharing.device_use("cuda", alone=True) as said:
        pass
    assert said == ["timed while another run used cuda, which had not ended after 0 s"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_timing_waits_for_the_cells_of_other_runs(monkeypatch):
    monkeypatch.setattr(sharing, "BUSY", 2.0)  # what other programs do is no matter of this test
    for patience, held in ((60.0, 1.5), (0.1, 4.0)):
        monkeypatch.setattr(sharing, "PATIENCE", patience)
        with subprocess.Popen([sys.executable, "-c", HOLDER, str(held)], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout.readline() == "held\n"
            with sharing.device_use("cpu-test"):
                pass  # cells share it at once
            started = time.monotonic()
            with sharing.device_use("cpu-test", alone=True) as said:
                waited = time.monotonic() - started
            over = not said
            other.kill()
        assert over == (held < patience)
        if over:
            assert waited > 0.5
        else:
            assert said == ["timed while another run used cpu-test, which had not ended after 0 s"]


def test_what_other_programs_did_meanwhile_is_said(monkeypatch):
    monkeypatch.setattr(
        sharing, "_processor", iter([(0.0, 0.0, 0.0), (10.0, 10.0 * (os.cpu_count() or 1), 1.0)]).__next__
    )
    with sharing.device_use("cpu-test", alone=True) as said:
        assert said == []
    assert len(said) == 1
    assert said[0].startswith("timed while other programs used ")


def test_of_a_moment_nothing_is_said(monkeypatch):
    """A hundredth of a second of somebody's is more than there was."""
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
