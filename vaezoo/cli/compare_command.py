"""The command `compare`: what changed between two results folders."""

from pathlib import Path
from typing import Annotated

import typer

from vaezoo.cli.app import app, say, terminal

_BEFORE = typer.Argument(metavar="A", help="The results folder that is the reference.")
_AFTER = typer.Argument(metavar="B", help="The results folder that is judged.")


@app.command("compare")
def compare_command(
    before: Annotated[Path, _BEFORE],
    after: Annotated[Path, _AFTER],
    tolerance: Annotated[float, typer.Option(help="The share of a speed that may be lost.")] = 0.05,
    metric: Annotated[list[str], typer.Option(help="A column that is judged; may be given again. Else all.")] = [],
) -> None:
    """Show what changed from A to B, cell by cell and in the mean; exit code 1 where quality or speed was lost."""
    from vaezoo.reports.compare import compare
    from vaezoo.reports.formats import Terminal

    found = compare(before, after, tolerance=tolerance, metrics=metric)
    console = terminal()
    say(f"A: {before}, B: {after}")
    for sheet in found.sheets:
        console.print(Terminal(sheet))
        console.print()
    for line in (*found.unmatched, *found.notes):
        say(line)
    if found.identical:
        say(f"all {len(found.cells)} cells are identical")
    say(found.verdict)
    if found.exit_code:
        raise typer.Exit(found.exit_code)
