"""The command `report`: results folders as one HTML page."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from vaezoo.cli.app import app, say

_FOLDERS = typer.Argument(metavar="DIR...", help="Results folders; several share one report.")
_OUT = typer.Option(help="The file; else report.html in the folder, or here where there are several.")


@app.command("report")
def report_command(folders: Annotated[list[Path], _FOLDERS], out: Annotated[Path | None, _OUT] = None) -> None:
    """Write one HTML file of all results: leaderboard, plots, pictures, failures. It opens from the disk, offline."""
    from vaezoo.reports.html.report import NAME, write_report
    from vaezoo.runner.results import adopt_verdicts

    for folder in folders:
        with suppress(OSError):  # the folder is read-only: what it knows of its plugins counts
            adopt_verdicts(folder)
    path = out or (folders[0] / NAME if len(folders) == 1 else Path(NAME))
    write_report(folders, path)
    say(f"report: {path} ({path.stat().st_size / 1e6:.2f} MB)")
