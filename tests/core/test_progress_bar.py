"""The progress of long work: the same steps, a heartbeat for each, and a bar on a terminal where nothing listens."""

import pytest

from vaezoo.core import heartbeat, progress_bar
from vaezoo.core.progress_bar import with_progress


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress_bar, "PATIENCE", -1.0)
    monkeypatch.setattr(progress_bar, "_can_show", lambda: True)


def test_the_steps_come_in_turn_and_quick_work_shows_nothing(capsys):
    assert list(with_progress([3, 1, 2], "pixels")) == [3, 1, 2]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("at_once")
def test_long_work_shows_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert list(with_progress(range(5), "pixels")) == list(range(5))
    assert "pixels" in capsys.readouterr().err


@pytest.mark.usefixtures("at_once")
def test_each_step_is_a_heartbeat_and_a_run_shows_no_bar(monkeypatch, capsys):
    told = []
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.0)
    heartbeat.listen(told.append)
    try:
        assert list(with_progress(range(4), "pixels")) == [0, 1, 2, 3]
    finally:
        heartbeat.listen(None)
    assert told == [{"alive": True}] * 4
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("at_once")
def test_the_bar_is_removed_where_the_work_stops(monkeypatch):
    stopped = []
    bar = type("Bar", (), {"task_ids": [0], "update": lambda *a, **k: None, "stop": lambda self: stopped.append(1)})()
    monkeypatch.setattr(progress_bar, "_bar", lambda *given: bar)
    steps = with_progress(range(10), "pixels")
    assert (next(steps), next(steps)) == (0, 1)
    steps.close()
    assert stopped == [1]
