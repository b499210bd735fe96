"""The events of a run: every start, epoch and end once, in a file, for a callable and for TensorBoard."""

import errno
import json
import os
import shutil
import sys
import warnings
from dataclasses import replace

import pytest
from small_tasks import a_task

from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.runner.events import Event, EventFile, Events, TensorBoard, receivers
from vaezoo.runner.records import CellProgress, Record
from vaezoo.runner.store import Store

NOW = "2026-01-01T00:00:00.000+00:00"


class Seen:
    """A watcher that notes what it is told."""

    def __init__(self):
        self.told = []

    def begin(self, kind, total, kept):
        self.told.append(("begin", kind, total, kept))

    def tick(self, running):
        self.told.append(("tick", len(running)))

    def finished(self, task, status):
        self.told.append(("finished", status))


ENDED = {"seconds": 9.0, "results": {"iwll": -80.0}}


def report(task, epoch):
    Store(task.folder).write_progress(task.cell.stem, CellProgress(epoch, 7, -90.0 + epoch, -80.0 + epoch, 0.5, 1))


def finish(task, epochs, status="ok", reason=None):
    columns = {"objective": -90.0, "validation_iwll": -80.0, "seconds": 0.0}
    history = {name: [start + n for n in range(1, epochs + 1)] for name, start in columns.items()}
    Store(task.folder).write(task.cell, replace(Record.of(task.cell, status, reason), history=history, **ENDED))


def begin(task, told, watcher):
    """A run that begins one cell."""
    with Events(watcher, told) as events:
        events.begin("cells", 1, 0)
        events.tick([task])


def test_every_start_epoch_and_end_is_an_event_once(tmp_path):
    task, told, watcher = a_task(tmp_path), [], Seen()
    with Events(watcher, [told.append]) as events:
        events.begin("cells", 1, 0)
        for epoch in (None, 1, 1, 4):
            if epoch is not None:
                report(task, epoch)
            events.tick([task])
        finish(task, 5)
        events.finished(task, "ok")
        events.begin("timings", 0, 0)
    kinds = [event.kind for event in told]
    assert kinds == ["run-start", "cell-start", *["epoch"] * 5, "cell-end", "run-end"]
    assert [event.epoch for event in told if event.kind == "epoch"] == [1, 4, 2, 3, 5]
    for event in told[1:-1]:
        cell = task.cell
        assert (event.stem, event.label, event.dataset, event.seed) == (cell.stem, cell.label, cell.dataset, cell.seed)
    for event in told[2:-2]:
        assert (event.objective, event.validation_iwll) == (-90 + event.epoch, -80 + event.epoch)
        assert event.epochs == 7
    assert (told[-2].status, told[-2].seconds, told[-1].status) == ("ok", 9.0, "ok")
    assert watcher.told == [
        ("begin", "cells", 1, 0),
        *[("tick", 1)] * 4,
        ("finished", "ok"),
        ("begin", "timings", 0, 0),
    ]


def test_a_cell_that_no_tick_saw_and_one_that_failed(tmp_path):
    told = []
    with Events(Seen(), [told.append]) as events:
        events.begin("cells", 2, 0)
        for seed, (epochs, status, reason) in enumerate([(2, "ok", None), (0, "failed", "it broke")]):
            task = a_task(tmp_path, seed)
            finish(task, epochs, status, reason)
            events.finished(task, status)
    assert [(e.kind, e.seed, e.status, e.reason) for e in told[1:-1]] == [
        ("cell-start", 0, None, None),
        *[("epoch", 0, None, None)] * 2,
        ("cell-end", 0, "ok", None),
        ("cell-start", 1, None, None),
        ("cell-end", 1, "failed", "it broke"),
    ]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "interrupted"), (OSError("no"), "failed")])
def test_a_run_that_is_stopped_ends_its_cells(tmp_path, error, status):
    told = []
    with pytest.raises(type(error)), Events(Seen(), [told.append]) as events:  # noqa: PT012
        events.begin("cells", 1, 0)
        events.tick([a_task(tmp_path)])
        raise error
    assert [(event.kind, event.status) for event in told[-2:]] == [("cell-end", "interrupted"), ("run-end", status)]


def test_a_run_that_never_began_has_no_events():
    told = []
    with Events(Seen(), [told.append]):
        pass
    assert told == []


def test_a_receiver_that_raises_warns_once_and_ends_nothing(tmp_path):
    told, watcher = [], Seen()

    def broken(event):
        raise ZeroDivisionError("mine")

    with pytest.warns(VaezooWarning, match=r"events are lost: .*broken: ZeroDivisionError: mine") as warned:
        begin(a_task(tmp_path), [broken, told.append], watcher)
    assert len(warned) == 1
    assert [event.kind for event in told] == ["run-start", "cell-start", "cell-end", "run-end"]
    assert watcher.told[-1] == ("tick", 1)


def test_the_file_gets_one_line_an_event(tmp_path):
    path = tmp_path / "deep" / "events.jsonl"
    for kind in ("run-start", "run-end"):  # a second run appends
        file = EventFile(path)
        file(Event(kind, NOW, label="é\n", objective=float("nan")))
        file.close()
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"kind": kind, "time": NOW, "label": "é\n"} for kind in ("run-start", "run-end")
    ]


def test_a_torn_line_is_ended_before_the_next(tmp_path, monkeypatch):
    file, write = EventFile(tmp_path / "events.jsonl"), os.write
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:9]))
    with pytest.raises(OSError, match=r"only 9 of \d+ bytes of a line"):
        file(Event("run-start", NOW))
    monkeypatch.undo()
    file(Event("run-end", NOW))
    file.close()
    torn, whole = (tmp_path / "events.jsonl").read_text().splitlines()
    assert json.loads(whole)["kind"] == "run-end"
    assert len(torn) == 9


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_warns_once_and_ends_nothing(tmp_path):
    with pytest.warns(VaezooWarning, match=f"events are lost: /dev/full: .*{os.strerror(errno.ENOSPC)}") as warned:
        begin(a_task(tmp_path), receivers("/dev/full", None), Seen())
    assert len(warned) == 1


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(VaezooError, match=r"events cannot be written to .*; give another file"):
        EventFile(tmp_path)


def test_without_tensorboard_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(VaezooError, match=r"needs the package tensorboard: pip install 'vaezoo\[tensorboard\]'"):
        TensorBoard(tmp_path)


def test_tensorboard_has_the_numbers_of_every_epoch(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        board = TensorBoard(tmp_path)
        for epoch in (1, 3, 2):
            board(Event("epoch", NOW, "a--s0", epoch=epoch, objective=-1.0 * epoch, validation_iwll=None))
        board(Event("cell-end", NOW, "a--s0"))
        board.close()
        found = EventAccumulator(str(tmp_path / "a--s0")).Reload()
        assert {(each.step, each.value) for each in found.Scalars("objective")} == {(1, -1.0), (2, -2.0), (3, -3.0)}
        assert found.Tags()["scalars"] == ["objective"]


def test_the_command_writes_events(shell, finished, tmp_path):
    folder, file = tmp_path / "first", tmp_path / "events.jsonl"
    shutil.copytree(finished.folder, folder)
    done = shell("run", finished.matrix, "--device", "cpu", "--out", folder, "--events", file)
    assert done.code == 0, done.err
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(event["kind"], event.get("total"), event.get("status")) for event in told] == [
        ("run-start", 0, None),
        ("run-end", None, "ok"),
    ]
    if os.path.exists("/dev/full"):
        done = shell("run", finished.matrix, "--device", "cpu", "--out", folder, "--events", "/dev/full")
        assert done.code == 0
        assert done.err == f"warning: events are lost: /dev/full: OSError: [Errno 28] {os.strerror(errno.ENOSPC)}\n"
    assert "events cannot be written to" in shell.wrong("run", finished.matrix, "--events", tmp_path)
