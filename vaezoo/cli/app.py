"""The command line's app, the options that its commands share, and the entry point `main`."""

import atexit
import gc
import io
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.core.visible_text import visible
from vaezoo.registry import SLOTS, Plugin, register, registry

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer
    from rich.console import Console

WIDTH = 160
"""Columns where the output is not a terminal, so that no table is cut."""

app = typer.Typer(
    help="Benchmarks of variational autoencoders: register a variant, run a matrix, read the tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from vaezoo import __version__

        typer.echo(f"vaezoo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options of `vaezoo` itself."""


Plugins = Annotated[list[Path], typer.Option("--plugin", help="A plugin file; may be given again.")]
Out = Annotated[Path | None, typer.Option(help="The results folder; results/<matrix name> when left out.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Jobs = Annotated[int | None, typer.Option(help="Cells at a time; the cores are shared among them.")]
DataRoot = Annotated[
    str | None, typer.Option(help="The folder of the data sets; else $VAEZOO_DATA, else the user's cache folder.")
]
Only = Annotated[list[str], typer.Option("--only", help="Rows whose label fits this pattern; may be given again.")]
Variants = Annotated[list[str], typer.Option("--variant", help="Rows of variants that fit this pattern (vae*).")]
Datasets = Annotated[list[str], typer.Option("--dataset", help="Data sets that fit this pattern (mnist*).")]
Shard = Annotated[str | None, typer.Option(help="i/n: the i-th of n equal parts; `vaezoo merge` joins them.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run cells again that failed by their own fault.")]
Force = Annotated[bool, typer.Option("--force", help="Run cells again that are done.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds a cell may take; else the matrix's.", min=0.001)]
Stall = Annotated[float | None, typer.Option(help="Seconds without progress that end a cell; else 600.", min=0.001)]
CheckpointInterval = Annotated[
    float | None, typer.Option("--checkpoint", help="Seconds between two checkpoints of a cell; else 300.", min=0.0)
]
MaxMemory = Annotated[str | None, typer.Option(help="Memory a cell may use: 8G, 500M.")]
Retries = Annotated[
    int, typer.Option(help="New attempts for a cell that was killed, stalled or ran out of memory.", min=0, max=1000)
]
KeepWeights = Annotated[
    str, typer.Option("--keep-weights", help="all, best (of the seeds of each row on a data set) or none.")
]
Engine = Annotated[str, typer.Option(help="Where cells run: local (this machine), or ray (the nodes of a cluster).")]
Address = Annotated[str | None, typer.Option(help="HOST:PORT of the Ray cluster; else RAY_ADDRESS or this machine's.")]
GpusPerCell = Annotated[
    float | None, typer.Option(help="GPUs of a cell on a cluster: 1, or 0.25 for four cells a GPU.", min=0)
]
EventsFile = Annotated[
    Path | None, typer.Option("--events", help="A file that gets one JSON line for each start, epoch and end.")
]
TensorBoardFolder = Annotated[
    Path | None, typer.Option("--tensorboard", help="A folder that gets each epoch's numbers for TensorBoard.")
]
ReportFlag = Annotated[
    bool, typer.Option("--report", help="Write report.html into the results folder, also while the run goes on.")
]
MatrixFile = Annotated[Path, typer.Argument(metavar="MATRIX", help="The matrix file (TOML).")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A results folder.")]


def terminal() -> "Console":
    """The console that tables are printed on: as wide as the terminal, or WIDTH."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH)


def say(*lines: str, err: bool = False) -> None:
    """Print lines. Control characters, which a label or a plugin's message may hold, are shown and not obeyed."""
    for line in lines:
        typer.echo(visible(line), err=err)


def _show_warnings_as_lines() -> None:
    """vaezoo's own warnings of this process are one line on stderr each, without the place in its code."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        """Print the message of a VaezooWarning; other warnings as usual."""
        if issubclass(category, VaezooWarning):
            say(f"warning: {message}", err=True)
        else:
            shown(message, category, *where, **more)

    warnings.showwarning = show


def load_plugins(plugins: Sequence[Path]) -> None:
    """Load each of the named plugin files."""
    for path in plugins:
        register.load_file(path)


def warn_unavailable() -> None:
    """Print a warning for each plugin that could not be imported."""
    for lost in register.unavailable:
        say(f"warning: {lost.source} is unavailable: {lost.reason}", err=True)


def variant_plugin(name: str, command: str) -> Plugin:
    """The plugin of a variant; VaezooError where there is none of this name, or the name is another slot's."""
    bare = name.removeprefix("variant/")
    refuse_other_slots(bare, command)
    return registry("variant")[bare]


def refuse_other_slots(name: str, command: str) -> None:
    """VaezooError where a name that should be a variant's is another slot's."""
    variants = registry("variant")
    others = [slot for slot in SLOTS if slot != "variant" and name.removeprefix(f"{slot}/") in registry(slot)]
    if others and name not in variants:
        taken = " and a ".join(others)
        raise VaezooError(f"`{command}` takes a variant, and {name!r} is a {taken}; try one of {', '.join(variants)}")


def row_settings(settings: Sequence[str]) -> dict[str, Any]:
    """`--set` values as the tables of a matrix row. VaezooError for the variant's name, and for a key given twice."""
    from vaezoo.runner.matrix.file import parse_setting
    from vaezoo.runner.matrix.schema import TABLES, VariantTable

    row: dict[str, Any] = {}
    for text in settings:
        path, value = parse_setting(text)
        if path[0] == "name":
            raise VaezooError(f"--set {text}: the argument NAME says which variant; write it there")
        home = next((name for name, table in TABLES.items() if path[0] in table.model_fields), None)
        if home and path[0] not in VariantTable.model_fields:
            raise VaezooError(f"--set {text}: {path[0]!r} belongs under {home}; say --set {home}.{text.strip()}")
        place = row
        for key in path[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise VaezooError(f"--set {text}: {key!r} has been given a value already; give it once")
        if path[-1] in place:
            raise VaezooError(f"--set {text}: {'.'.join(path)!r} has been given a value already; give it once")
        place[path[-1]] = value
    return row


class _Unread(io.FileIO):
    """A file descriptor that becomes os.devnull once its pipe has no reader. (click would exit with code 1.)"""

    def write(self, data: "Buffer", /) -> int:
        """Write the bytes; how many were written."""
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def _open_closed_streams() -> None:
    """Send what would go to a closed stream (`vaezoo ... >&-`) nowhere, and let no other file get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def main() -> None:
    """The `vaezoo` command. Invalid user input prints one line on stderr, no traceback, and exits with code 2.

    Where stdout is a pipe whose reader has gone (`vaezoo run M | head -1`) the command goes on without output.
    """
    atexit.register(gc.freeze)  # Python would search all of torch's objects for cycles as it ends
    _open_closed_streams()
    _show_warnings_as_lines()
    try:
        os.getcwd()
    except OSError:  # libraries that torch loads end the process there
        say("error: the working folder does not exist any more; change to another one", err=True)
        sys.exit(2)
    if not sys.stdout.isatty():
        raw = _Unread(sys.stdout.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), sys.stdout.encoding, sys.stdout.errors)
    try:
        app()
    except VaezooError as error:
        for line in str(error).splitlines():
            say(f"error: {line}", err=True)
        sys.exit(2)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        say(f"error: {error.strerror or error}:{where}", err=True)
        sys.exit(2)
