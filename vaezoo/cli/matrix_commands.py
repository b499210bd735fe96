"""The commands about matrices, results and this machine. They import torch only when they run."""

import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaezoo.cli.app import (
    Address,
    CheckpointInterval,
    DataRoot,
    Datasets,
    Device,
    Engine,
    EventsFile,
    Folder,
    Force,
    GpusPerCell,
    Jobs,
    KeepWeights,
    MatrixFile,
    MaxMemory,
    Only,
    Out,
    Plugins,
    ReportFlag,
    Retries,
    RetryFailed,
    Shard,
    Stall,
    TensorBoardFolder,
    Timeout,
    Variants,
    app,
    load_plugins,
    refuse_other_slots,
    row_settings,
    say,
    terminal,
    variant_plugin,
    warn_unavailable,
)
from vaezoo.registry import register

if TYPE_CHECKING:
    from rich.console import Console

    from vaezoo.reports.tables import Table
    from vaezoo.runner.children.client import Children
    from vaezoo.runner.events import Receiver
    from vaezoo.runner.limits import Limits
    from vaezoo.runner.plan.planner import Plan
    from vaezoo.runner.run import RunOptions
    from vaezoo.runner.selection import Selection


@app.command()
def plan(
    matrix: MatrixFile,
    out: Out = None,
    device: Device = "auto",
    data_root: DataRoot = None,
    plugin: Plugins = [],
    only: Only = [],
    variant: Variants = [],
    dataset: Datasets = [],
    shard: Shard = None,
    retry_failed: RetryFailed = False,
    force: Force = False,
    stall: Stall = None,
    max_memory: MaxMemory = None,
) -> None:
    """Show what a run would do: the rows, the data sets, what is done, what will be skipped or fail and why."""
    from vaezoo.cli.plan_display import plan_lines
    from vaezoo.runner.store import Store

    selection = _selection(only, variant, dataset, shard, retry_failed, force, True)
    limits = _limits(None, stall, max_memory, 0)
    made, where = _planned(matrix, None, device, data_root, plugin, limits)
    selection.check(made.cells)
    store = Store(out if out is not None else Path("results") / made.name)
    say(*plan_lines(made, store, selection, where))


def _planned(
    matrix: Path | dict[str, Any],
    children: "Children | None",
    device: str,
    data_root: str | None,
    plugins: list[Path],
    limits: "Limits",
) -> "tuple[Plan, str]":
    """The plan of a matrix and its device, under limits; plugins that are not available are named."""
    from vaezoo.api import plan_of

    seconds, memory = limits.planning, limits.memory
    found = plan_of(
        matrix, children, device=device, data_root=data_root, plugins=plugins, seconds=seconds, max_memory=memory
    )
    warn_unavailable()
    return found


def _selection(
    only: list[str],
    variant: list[str],
    dataset: list[str],
    shard: str | None,
    retry_failed: bool,
    force: bool,
    timings: bool,
) -> "Selection":
    from vaezoo.runner.selection import Selection, parse_shard

    part = None if shard is None else parse_shard(shard)
    return Selection(tuple(only), tuple(variant), tuple(dataset), part, retry_failed, force, timings)


@app.command()
def run(
    matrix: MatrixFile,
    out: Out = None,
    device: Device = "auto",
    jobs: Jobs = None,
    data_root: DataRoot = None,
    plugin: Plugins = [],
    only: Only = [],
    variant: Variants = [],
    dataset: Datasets = [],
    shard: Shard = None,
    retry_failed: RetryFailed = False,
    force: Force = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="End at the first failure.")] = False,
    timings: Annotated[bool, typer.Option("--timings/--no-timings", help="Measure speeds after the cells.")] = True,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Prove new plugins beside the cells.")] = True,
    timeout: Timeout = None,
    stall: Stall = None,
    max_memory: MaxMemory = None,
    retries: Retries = 1,
    checkpoint: CheckpointInterval = None,
    keep_weights: KeepWeights = "all",
    engine: Engine = "local",
    address: Address = None,
    gpus_per_cell: GpusPerCell = None,
    events: EventsFile = None,
    tensorboard: TensorBoardFolder = None,
    report: ReportFlag = False,
) -> None:
    """Run a matrix and write its tables. The same command goes on after a stop: finished cells are not run again."""
    with _warming_up() as children:
        from vaezoo.runner.engines.choice import EngineChoice
        from vaezoo.runner.events import receivers
        from vaezoo.runner.kept_weights import parse_kept
        from vaezoo.runner.run import RunOptions

        kept = parse_kept(keep_weights)
        choice = EngineChoice(engine, address, gpus_per_cell)
        selection = _selection(only, variant, dataset, shard, retry_failed, force, timings)
        limits = _limits(timeout, stall, max_memory, retries)
        limits = limits if checkpoint is None else replace(limits, checkpoint=checkpoint)
        asked = receivers(events, tensorboard)
        options = RunOptions(jobs, fail_fast, selection, limits, kept, choice, check, report)
        _carry_out(children, matrix, out, device, data_root, plugin, "run", options, asked)


def _limits(timeout: float | None, stall: float | None, max_memory: str | None, retries: int) -> "Limits":
    from vaezoo.runner.limits import STALL, Limits, parse_memory

    memory = None if max_memory is None else parse_memory(max_memory)
    return Limits(timeout, STALL if stall is None else stall, memory, retries)


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
    report: ReportFlag = False,
) -> None:
    """Run one variant on one data set: a matrix of one row."""
    with _warming_up() as children:
        from vaezoo.runner.run import RunOptions

        bare = name.removeprefix("variant/")
        if not plugin:
            with register.without_packages():
                refuse_other_slots(bare, "try")
        stem = re.sub(r"[^a-z0-9._-]+", "-", bare.lower()).strip("-._") or "variant"
        matrix: dict[str, Any] = {"name": f"try-{stem}", "datasets": [dataset], "seeds": seeds}
        matrix["evaluate"] = {"throughput": throughput}
        row = {"name": bare, **row_settings(settings)}
        matrix |= {key: row.pop(key) for key in ("seeds", "timeout", "datasets", "pack") if key in row}
        matrix["variants"] = [row]
        _carry_out(
            children, matrix, out, device, data_root, plugin, "try", RunOptions(jobs, prove=False, report=report)
        )


def _words() -> str:
    import shlex

    return shlex.join(sys.argv[2:])


def _warming_up() -> "Children":
    """The children of a run, whose server imports torch while this process does."""
    from vaezoo.runner.children.client import Children

    children = Children()
    children.warm_up()
    return children


def _carry_out(
    children: "Children",
    matrix: Path | dict[str, Any],
    out: Path | None,
    device: str,
    data_root: str | None,
    plugins: list[Path],
    command: str,
    options: "RunOptions",
    receivers: "Sequence[Receiver]" = (),
) -> None:
    from vaezoo.api import execute
    from vaezoo.cli.display import best_lines, proof_lines
    from vaezoo.cli.progress import Live
    from vaezoo.reports.tables import tables
    from vaezoo.runner.events import Events
    from vaezoo.runner.results import read_results
    from vaezoo.runner.run import Terminated, ignore_signals, signals_as_interrupt

    console, again = terminal(), f"vaezoo {command} {_words()}"
    watcher = Live(console)
    try:
        with signals_as_interrupt(), children, Events(watcher, receivers) as seen:
            made, where = _planned(matrix, children, device, data_root, plugins, options.limits)
            report = execute(made, where, out, seen, children, options)
    except KeyboardInterrupt as stop:
        ignore_signals()
        watcher.close()
        say(f"stopped; what was finished is kept. Go on with: {again}", err=True)
        raise typer.Exit(128 + (stop.number if isinstance(stop, Terminated) else signal.SIGINT)) from None
    finally:
        watcher.close()
    frame = read_results(report.folder)
    written = tables(frame)
    _print_tables(console, written)
    say(", ".join(f"{n} {status}" for status, n in sorted(report.counts.items())))
    for failure in report.failures:
        log = f"; log: {report.folder / failure.log}" if failure.log else ""
        say(f"{failure.status}: {failure.title}: {failure.reason}{log}")
    for line in [*proof_lines(frame), *best_lines(written)]:
        say(line)
    say(f"tables: {report.folder / 'tables'}")
    if (figures := report.folder / "figures").is_dir():
        say(f"figures: {figures}")
    if options.report and (page := report.folder / "report.html").is_file():
        say(f"report: {page}")
    passing = sum(failure.may_pass for failure in report.failures)
    if passing:
        say(f"{passing} of these may pass when run again: {again}")
    if len(report.failures) > passing:
        flag = "" if command == "try" or "--retry-failed" in again else " --retry-failed"
        say(f"{len(report.failures) - passing} fail again unless something changes; then: {again}{flag}")
    if report.failures:
        raise typer.Exit(1)


def _print_tables(console: "Console", written: "Sequence[Table]", details: bool = False) -> None:
    from vaezoo.reports.across import across
    from vaezoo.reports.formats import Terminal

    for table in written:
        console.print(table.terminal(details=details))
        console.print()
    if (found := across(written)) is not None:
        console.print(Terminal(found.sheet))
        console.print()
    if not details:
        say("vaezoo tables DIR --columns NAME,... shows other columns, --details what they and bold mean")


@app.command()
def status(folder: Folder) -> None:
    """Show how far a run is: cells by status, what is running now, each failure with its log."""
    from vaezoo.cli.display import status_lines

    say(*status_lines(folder))


@app.command("tables")
def tables_command(
    folder: Folder,
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="The columns to show, as iwll,elbo,seeds; the CSV has all."),
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="Print what the columns and bold mean, too.")] = False,
) -> None:
    """Write the tables of a results folder again (Markdown, CSV, LaTeX) and print them."""
    from vaezoo.reports.tables import tables, write_tables
    from vaezoo.runner.results import adopt_verdicts, read_results

    adopt_verdicts(folder)
    names = None if columns is None else [name.strip() for name in columns.split(",")]
    made = tables(read_results(folder), names)
    paths = write_tables(made, folder / "tables")
    _print_tables(terminal(), made, details)
    for path in paths:
        say(str(path))


@app.command("merge")
def merge_command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Results folders of shards of one matrix.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to join them in; it may be one of them.")],
) -> None:
    """Join results folders of shards of one matrix, and write its tables. Conflicting records are never overwritten."""
    from vaezoo.reports.tables import write_tables
    from vaezoo.runner.merge import merge
    from vaezoo.runner.results import adopt_verdicts, read_results

    merged = merge(folders, out)
    adopt_verdicts(out)
    frame = read_results(out)
    write_tables(frame, out / "tables")
    for line in merged.left_out:
        say(f"warning: {line}", err=True)
    counts = frame["status"].value_counts()
    joined = ", ".join(f"{n} {state}" for state, n in counts.items())
    say(f"{merged.records} records joined into {out}: {joined}", f"tables: {out / 'tables'}")
    for line in merged.conflicts:
        say(f"conflict: {line}", err=True)
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
    pack: Annotated[int, typer.Option(help="Seeds that train together, beside one alone.", min=1, max=1000)] = 8,
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
                say(f"{speed.variant}, {speed.work}: {speed.reason}")


@app.command()
def env(data_root: DataRoot = None) -> None:
    """Show the versions, the devices and the folder of the data sets, for a bug report."""
    from vaezoo.cli.display import environment_lines

    say(*environment_lines(data_root))
    warn_unavailable()
