"""A cell is stopped or killed while it measures its further metrics: its other numbers stay, and it goes on."""

import pytest

from vaezoo.api import plan_of
from vaezoo.core import heartbeat
from vaezoo.core.errors import VaezooWarning
from vaezoo.runner.children.client import Event
from vaezoo.runner.engines.engine import Engine, _Job
from vaezoo.runner.limits import Limits
from vaezoo.runner.store import Store
from vaezoo.runner.work import measure
from vaezoo.runner.work.cell import run_cell
from vaezoo.runner.work.evaluate import CellEvaluation
from vaezoo.training import loop
from vaezoo.training.checkpoint import CheckpointClock

MATRIX = {
    "datasets": ["digits-binary"],
    "model": {"latent": 2, "hidden": [4]},
    "train": {"epochs": 1, "batch_size": 300},
    "evaluate": {
        "importance_samples": 5,
        "images": 20,
        "throughput": False,
        "metrics": ["kl-per-dimension", "active-unit-vector"],
    },
    "variants": [{"name": "vae"}],
}


@pytest.fixture(scope="module")
def plan():
    return plan_of(MATRIX, device="cpu")[0]


@pytest.fixture
def expected(plan, tmp_path):
    """The results of the undisturbed cell."""
    assert run_cell(plan.task(plan.cells[0], tmp_path / "calm"), "cpu") == "ok"
    return numbers(tmp_path / "calm", plan.cells[0])


def numbers(folder, cell):
    record = Store(folder).record("cells", cell.stem, cell)
    assert not record.pending_metrics
    assert record.audit.figures["reloaded"].holds  # also where another process has gone on
    return {n: v for n, v in record.results.items() if n not in ("train_seconds", "own_memory_bytes")}, record.vectors


def stopped_after_one_metric(task, monkeypatch):
    """The cell, asked to stop during its first further metric; the stages that the run was told."""
    clock, measured, stages = CheckpointClock(), CellEvaluation.metric, []
    heartbeat.listen(lambda message: stages.append(message.get("stage")))
    with monkeypatch.context() as patch:
        patch.setattr(CellEvaluation, "metric", lambda self, name: (clock.request_stop(), measured(self, name)))
        assert run_cell(task, "cpu", clock=clock) == "ok"
    heartbeat.listen(None)
    return stages


def test_a_cell_that_is_stopped_between_its_metrics_goes_on_without_training(plan, tmp_path, monkeypatch, expected):
    task = plan.task(plan.cells[0], tmp_path / "there")
    assert stopped_after_one_metric(task, monkeypatch)[-1] == measure.STOPPED
    record = Store(task.folder).record("cells", task.cell.stem, task.cell)
    assert record.pending_metrics == ("active-unit-vector",)
    assert not record.is_final
    monkeypatch.setattr(loop, "_train_epochs", None)
    assert run_cell(task, "cpu") == "ok"
    assert numbers(task.folder, task.cell) == expected


def test_where_the_values_are_not_those_of_the_record_the_cell_begins_anew(plan, tmp_path, monkeypatch, expected):
    """As after a kill between the writing of the two."""
    task = plan.task(plan.cells[0], tmp_path / "there")
    stopped_after_one_metric(task, monkeypatch)
    Store(task.folder).write_images(task.cell.stem, {})
    with pytest.warns(VaezooWarning, match="^the evaluation begins anew: the per-image values .* are not those of the"):
        assert run_cell(task, "cpu") == "ok"
    assert numbers(task.folder, task.cell) == expected


@pytest.mark.parametrize(("stage", "status"), [(measure.STOPPED, "interrupted"), ("metric active-unit-vector", None)])
def test_the_run_tells_a_stop_from_a_metric_that_ended_the_process(plan, tmp_path, monkeypatch, stage, status):
    """Both end with exit code 0 and metrics still to be measured."""
    task = plan.task(plan.cells[0], tmp_path / "there")
    stopped_after_one_metric(task, monkeypatch)
    told = []

    class Claimed:
        def release(self, stems):
            """Nothing is held."""

    engine = Engine(
        Store(task.folder), None, Claimed(), Limits(), tick=print, finished=lambda task, status: told.append(status)
    )
    engine._settle(Event(0, ended=0), _Job([task], 0, [None], stage=stage))
    assert told == ([] if status is None else [status])
    lost = [name for tasks, _ in engine.waiting for name, _ in tasks[0].lost_metrics]
    assert lost == ([] if status else ["active-unit-vector"])
