"""The report of results folders: one HTML file that opens from the disk."""

from collections.abc import Sequence
from pathlib import Path

from vaezoo.reports.across import across
from vaezoo.reports.html.details import commands, failures, provenance, time_text
from vaezoo.reports.html.folders import read_folders
from vaezoo.reports.html.page import rendered
from vaezoo.reports.html.parts import part
from vaezoo.reports.tables import tables
from vaezoo.runner.files import write_atomically

NAME = "report.html"
"""The report inside a results folder."""


def write_report(folders: Sequence[Path], path: Path, *, is_running: bool = False) -> None:
    """Write the report of some results folders to a file, whole or not at all. Raises as `report`, and OSError."""
    write_atomically(path, report(folders, is_running=is_running).encode(), lasting=False)


def report(folders: Sequence[Path], *, is_running: bool = False) -> str:
    """The report of some results folders as one HTML page: the same text for the same records.

    is_running: whether a run is writing to the folder, which the page then says. Raises VaezooError where a folder
    holds no results.
    """
    results = read_folders(folders)
    stored = results.frame.attrs["columns"]
    ranked = [each["name"] for each in stored if each["ranked_by"] and each["ranked_by"] != "device"]
    made = tables(results.frame, images=results.images(ranked))
    parts = [part(table, f"d{place}", results) for place, table in enumerate(made)]
    every = [cell for cells in results.cells.values() for cell in cells]
    counts = results.frame["status"].value_counts()
    ended = [cell.record.provenance.finished for cell in every if cell.record and cell.record.provenance]
    facts = {
        "across": across(made, str(results.frame.attrs["name"])),
        "title": str(results.frame.attrs["name"]),
        "folders": results.titles,
        "counts": {str(status): int(counts[status]) for status in sorted(counts.index)},
        "failures": failures((label, dataset, cells) for (dataset, label), cells in results.cells.items()),
        "provenance": provenance(every),
        "commands": commands(every),
        "is_running": is_running,
        "last": time_text(max(ended, default="")),
        "seconds": sum(cell.record.seconds or 0.0 for cell in every if cell.record is not None),
        "rows": sum(len(each.board.rows) for each in parts),
    }
    return rendered(parts, facts)
