"""The report of a run that is going: written when records have been, seldom, and never a reason for the run to end."""

import pytest
from folders import write
from result_folders import a_cell_with_all

from vaezoo import api
from vaezoo.core.errors import VaezooWarning
from vaezoo.reports.html import live
from vaezoo.reports.html.live import LEAST, Reporting
from vaezoo.reports.html.report import report
from vaezoo.runner.run import RunOptions


class Heard:
    """A watcher that remembers what it was told."""

    def __init__(self):
        self.calls = []

    def begin(self, *given):
        self.calls.append(("begin", *given))

    def tick(self, *given):
        self.calls.append(("tick", *given))

    def finished(self, *given):
        self.calls.append(("finished", *given))


def test_a_report_is_written_when_there_are_news_and_the_last_one_is_old(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    folder = write(
        tmp_path / "made", [a_cell_with_all("vae", 0, -80.0), a_cell_with_all("iwae", 0, -81.0)], missing=("iwae",)
    )
    watcher = Heard()
    reporting, path = Reporting(watcher, folder), folder / "report.html"
    reporting.begin("cells", 2, 0)
    assert not path.exists()  # a run that has just begun has other things to do
    reporting.tick([])
    text = path.read_text(encoding="utf-8")
    assert "The run goes on, 1 cell has no record yet" in text
    path.unlink()
    now[0] += LEAST + 1
    reporting.tick([])  # no record has been written since
    reporting.finished("task", "ok")
    assert not path.exists()
    reporting.tick([])
    assert path.read_text(encoding="utf-8") == text
    path.unlink()
    reporting.finished("task", "ok")
    now[0] += LEAST - 1
    reporting.tick([])
    assert not path.exists()  # too soon
    assert [each[0] for each in watcher.calls] == ["begin", "tick", "tick", "finished", "tick", "finished", "tick"]
    assert "The run goes on" not in report([folder])


def test_a_report_that_cannot_be_written_warns_once(tmp_path):
    reporting = Reporting(Heard(), tmp_path / "nowhere")
    with pytest.warns(VaezooWarning, match="the report could not be written .* holds no results"):
        reporting.tick([])
    reporting.finished("task", "ok")
    reporting.due = 0.0
    reporting.tick([])


def test_no_exception_of_the_report_ends_the_run(tmp_path, monkeypatch):
    def broken(*given, **named):
        raise KeyError("a\nb")

    monkeypatch.setattr(live, "write_report", broken)
    watcher = Heard()
    with pytest.warns(VaezooWarning, match="^the report could not be written while the run goes on: KeyError: [^\n]+$"):
        Reporting(watcher, tmp_path).tick([])
    assert watcher.calls == [("tick", [])]


def test_figures_and_a_report_that_cannot_be_written_leave_the_tables(tmp_path, monkeypatch):
    def broken(*given, **named):
        raise KeyError("a\nb")

    folder = write(tmp_path / "made", [a_cell_with_all("vae", 0, -80.0)])
    monkeypatch.setattr("vaezoo.reports.drawing.folder.draw_figures", broken)
    monkeypatch.setattr("vaezoo.reports.html.report.write_report", broken)
    with pytest.warns(VaezooWarning) as told:
        api._write(folder, RunOptions(report=True), with_figures=True)
    said = [str(each.message).partition(": ")[0] for each in told]
    assert said == ["the figures were not drawn", "the report was not written"]
    assert list((folder / "tables").glob("*.md"))


def test_run_report_leaves_the_report_of_the_finished_run(shell, matrix_file, tmp_path):
    matrix = matrix_file(tmp_path / "small.toml", ["vae", "beta-vae"], train={"epochs": 1})
    done = shell("run", matrix, "--report", "--no-timings", "--no-check", "--out", tmp_path / "out")
    assert f"report: {tmp_path / 'out' / 'report.html'}" in done.out
    written = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "The run goes on" not in written
    assert "--only vae --dataset digits-binary --out reproduced" in written
    assert written == report([tmp_path / "out"])
