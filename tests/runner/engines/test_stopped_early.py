"""A cell that is stopped before its process can write a checkpoint."""

from small_tasks import a_task

from vaezoo.runner.children.client import Event
from vaezoo.runner.engines.engine import Engine, _Job
from vaezoo.runner.limits import Limits
from vaezoo.runner.store import Store


class Machine:
    """A place where each signal ends a job."""

    def __init__(self):
        self.ended = []

    def kill(self, job, number):
        self.ended.append(Event(job, ended=-number))

    def events(self, timeout):
        return self.ended


class Claims:
    """Nothing is held."""

    def release(self, stems):
        pass


def test_it_is_interrupted_whatever_ended_its_process(tmp_path):
    """Also where no further attempt is allowed. As failed, the next run would leave it out."""
    store, task, told = Store(tmp_path), a_task(tmp_path), []
    store.prepare()
    limits = Limits(retries=0)
    engine = Engine(store, Machine(), Claims(), limits, tick=print, finished=lambda task, status: told.append(status))
    engine.jobs = {0: _Job([task], 0, [engine._stamp(task)])}
    engine._stop("the run was stopped")
    record = store.record("cells", task.cell.stem, task.cell)
    assert (record.status, record.reason, told) == ("interrupted", "the run was stopped", ["interrupted"])
