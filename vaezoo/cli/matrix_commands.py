"""The commands about matrices, results and this machine. They import torch only when they run."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaezoo.cli.app import (
    DataRoot,
    Device,
    Folder,
    Jobs,
    MatrixFile,
    Out,
    Plugins,
    app,
    load_plugins,
    row_settings,
    terminal,
    variant_plugin,
    warn_unavailable,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from vaezoo.runner.plan.planner import Plan


@app.command()
def plan(
    matrix: MatrixFile,
    out: Out = None,
    device: Device = "auto",
    data_root: DataRoot = None,
    plugin: Plugins = [],
) -> None:
    """Show what a run would do: the rows, the data sets, what is done, what will be skipped or fail and why."""
    from vaezoo.api import plan_of
    from vaezoo.runner.run import pending
    from vaezoo.runner.store import Store

    made, where = plan_of(matrix, device=device, data_root=data_root, plugins=plugin)
    warn_unavailable()
    store = Store(out if out is not None else Path("results") / made.name)
    todo = {cell.stem for cell in pending(made.cells, store)}
    counts: dict[tuple[str, str], list[str]] = {}
    notes: dict[str, None] = {}
    for cell in made.cells:
        state = "skipped" if cell.skip else "to run" if cell.stem in todo else "done"
        counts.setdefault((cell.label, cell.dataset), []).append(state)
        if cell.skip:
            notes[f"skipped: {cell.label} on {cell.dataset}: {cell.skip}"] = None
        elif cell.expected_failure and cell.stem in todo:
            failure = f"its rehearsal raised {cell.expected_failure}; the run will record it as failed"
            notes[f"row {cell.label!r} on {cell.dataset}: {failure}"] = None
    for (label, dataset), states in counts.items():
        typer.echo(f"{label} on {dataset}: " + ", ".join(f"{n} {state}" for state, n in Counter(states).items()))
    for line in notes:
        typer.echo(line)
    waiting = pending(list(made.timings.values()), store)
    cells, timings = _count(len(todo), "cell"), _count(len(waiting), "timing")
    typer.echo(f"{cells} and {timings} to run on {where}, into {store.folder}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@app.command()
def run(
    matrix: MatrixFile,
    out: Out = None,
    device: Device = "auto",
    jobs: Jobs = None,
    data_root: DataRoot = None,
    plugin: Plugins = [],
) -> None:
    """Run a matrix and write its tables. The same command goes on after a stop: finished cells are not run again."""
    from vaezoo.api import plan_of

    made, where = plan_of(matrix, device=device, data_root=data_root, plugins=plugin)
    _carry_out(made, where, out, jobs, f"vaezoo run {_words()}")


@app.command("try")
def try_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A variant.")],
    dataset: Annotated[str, typer.Option(help="A data set.")],
    settings: Annotated[list[str], typer.Option("--set", help="KEY=VALUE as in a matrix: train.epochs=5.")] = [],
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 1,
    throughput: Annotated[bool, typer.Option("--throughput", help="Measure speeds too, alone on the device.")] = False,
    out: Out = None,
    device: Device = "auto",
    jobs: Jobs = None,
    data_root: DataRoot = None,
    plugin: Plugins = [],
) -> None:
    """Run one variant on one data set: a matrix of one row."""
    from vaezoo.api import plan_of

    load_plugins(plugin)
    found = variant_plugin(name, "try")
    matrix: dict[str, Any] = {"name": f"try-{found.name}", "datasets": [dataset], "seeds": seeds}
    matrix["evaluate"] = {"throughput": throughput}
    row = {"name": found.name, **row_settings(settings)}
    matrix |= {key: row.pop(key) for key in ("seeds", "timeout", "datasets", "pack") if key in row}
    matrix["variants"] = [row]
    made, where = plan_of(matrix, device=device, data_root=data_root, plugins=plugin)
    _carry_out(made, where, out, jobs, f"vaezoo try {_words()}")


def _words() -> str:
    import shlex

    return shlex.join(sys.argv[2:])


def _carry_out(made: "Plan", device: str, out: Path | None, jobs: int | None, again: str) -> None:
    from vaezoo.api import execute
    from vaezoo.cli.display import best_lines
    from vaezoo.cli.progress import Live
    from vaezoo.runner.results import read_results
    from vaezoo.runner.run import Terminated

    warn_unavailable()
    console = terminal()
    watcher = Live(console)
    try:
        report = execute(made, device, out, jobs, watcher)
    except KeyboardInterrupt as stop:
        watcher.close()
        typer.echo(f"stopped; what was finished is kept. Go on with: {again}", err=True)
        raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
    finally:
        watcher.close()
    frame = read_results(report.folder)
    _print_tables(console, frame)
    typer.echo(", ".join(f"{n} {status}" for status, n in sorted(report.counts.items())))
    for failure in report.failures:
        log = f"; log: {report.folder / failure.log}" if failure.log else ""
        typer.echo(f"{failure.status}: {failure.title}: {failure.reason}{log}")
    for line in best_lines(frame):
        typer.echo(line)
    typer.echo(f"tables: {report.folder / 'tables'}")
    if report.failures:
        typer.echo(f"try the failures again: {again}")
        raise typer.Exit(1)


def _print_tables(console: "Console", frame: "pd.DataFrame") -> None:
    from vaezoo.reports.tables import tables

    for table in tables(frame):
        console.print(table.terminal())
        console.print()


@app.command()
def status(folder: Folder) -> None:
    """Show how far a run is: cells by status, what is running now, each failure with its log."""
    from vaezoo.cli.display import status_lines

    typer.echo("\n".join(status_lines(folder)))


@app.command("tables")
def tables_command(folder: Folder) -> None:
    """Write the tables of a results folder again (Markdown, CSV, LaTeX) and print them."""
    from vaezoo.reports.tables import write_tables
    from vaezoo.runner.results import read_results

    frame = read_results(folder)
    paths = write_tables(frame, folder / "tables")
    _print_tables(terminal(), frame)
    for path in paths:
        typer.echo(str(path))


@app.command("merge")
def merge_command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Results folders of shards of one matrix.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to join them in; it may be one of them.")],
) -> None:
    """Join results folders of shards of one matrix, and write its tables. Conflicting records are never overwritten."""
    from vaezoo.reports.tables import write_tables
    from vaezoo.runner.merge import merge
    from vaezoo.runner.results import read_results

    merged = merge(folders, out)
    frame = read_results(out)
    write_tables(frame, out / "tables")
    for line in merged.left_out:
        typer.echo(f"warning: {line}", err=True)
    counts = frame["status"].value_counts()
    joined = ", ".join(f"{n} {state}" for state, n in counts.items())
    typer.echo(f"{_count(merged.records, 'record')} joined into {out}: {joined}")
    typer.echo(f"tables: {out / 'tables'}")
    for line in merged.conflicts:
        typer.echo(f"conflict: {line}", err=True)
    if merged.conflicts:
        raise typer.Exit(1)


@app.command("throughput")
def throughput_command(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Variants.")],
    dataset: Annotated[str, typer.Option(help="A data set.")] = "digits-binary",
    settings: Annotated[list[str], typer.Option("--set", help="KEY=VALUE as in a matrix: model.hidden=[400].")] = [],
    batch_size: Annotated[list[int], typer.Option(help="Images a training step; may be given again.")] = [128],
    threads: Annotated[list[int] | None, typer.Option(help="CPU threads; may be given again. Else 1.")] = None,
    precision: Annotated[list[str], typer.Option(help="float32, tf32, bfloat16; may be given again.")] = ["float32"],
    pack: Annotated[int, typer.Option(help="Seeds that train together, beside one alone.", min=1)] = 8,
    device: Device = "auto",
    data_root: DataRoot = None,
    plugin: Plugins = [],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a row.")] = False,
) -> None:
    """Time the training step (alone and packed), the likelihood and sampling, with their share of the matmul peak."""
    import json

    from vaezoo.cli.display import speeds_table
    from vaezoo.runner.throughput import throughput

    load_plugins(plugin)
    console, found = terminal(), []
    asked = throughput(
        [variant_plugin(name, "throughput").name for name in names],
        dataset,
        settings=row_settings(settings),
        batch_sizes=batch_size,
        threads=threads or [1],
        precisions=precision,
        pack=pack,
        device=device,
        data_root=data_root,
    )
    with console.status("timing"):
        for speed in asked:
            found.append(speed)
            if as_json:
                typer.echo(json.dumps(speed.as_dict()))
    if not as_json:
        console.print(speeds_table(found))
        for speed in found:
            if speed.reason:
                typer.echo(f"{speed.variant}, {speed.work}: {speed.reason}")


@app.command()
def env(data_root: DataRoot = None) -> None:
    """Show the versions, the devices and the folder of the data sets, for a bug report."""
    from vaezoo.cli.display import environment_lines

    typer.echo("\n".join(environment_lines(data_root)))
    warn_unavailable()
