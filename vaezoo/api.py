"""Runs a matrix from Python, from its file to the frame of its results. The command line calls these functions too."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from vaezoo.core import products
from vaezoo.core.errors import VaezooWarning
from vaezoo.registry import existing_file
from vaezoo.runner.children.child import refuse_in_child
from vaezoo.runner.children.client import Children
from vaezoo.runner.engines.choice import EngineChoice
from vaezoo.runner.events import Events, Receiver
from vaezoo.runner.limits import PLANNING
from vaezoo.runner.machine.device import cores, describe, memory, resolve_device
from vaezoo.runner.matrix.file import Matrix, load
from vaezoo.runner.plan.cell import Kind, Task
from vaezoo.runner.plan.isolation import plan_in_children
from vaezoo.runner.plan.planner import Machine, Plan
from vaezoo.runner.records import Status, reason_of
from vaezoo.runner.results import read_results
from vaezoo.runner.run import Report, RunOptions, Watcher, carry_out, chosen, packs, signals_as_interrupt
from vaezoo.runner.work.checkpoint import load_model

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Silent", "execute", "load_model", "plan_of", "read_results", "run"]


class Silent:
    """A watcher that prints nothing."""

    def begin(self, kind: Kind, total: int, kept: int) -> None:
        """Print nothing."""

    def tick(self, running: Sequence[Task]) -> None:
        """Print nothing."""

    def finished(self, task: Task, status: Status) -> None:
        """Print nothing."""


def plan_of(
    matrix: str | Path | Mapping[str, Any] | Matrix,
    children: Children | None = None,
    *,
    device: str = "auto",
    data_root: str | None = None,
    plugins: Sequence[str | Path] = (),
    seconds: float = PLANNING,
    max_memory: int | None = None,
) -> tuple[Plan, str]:
    """The plan of a matrix and the device it is for. Plugins from outside run in child processes. seconds: those that
    the import of one, or the rehearsal of a row, may take. max_memory: bytes that a cell may use. Raises VaezooError
    for invalid user input.
    """
    for plugin in plugins:
        existing_file(plugin)
    if not isinstance(matrix, Matrix):
        matrix = load(matrix, [Path(plugin) for plugin in plugins])
    where = resolve_device(device)
    machine = Machine(describe(where), where.partition(":")[0], cores(), memory(where), max_memory)
    with Children() if children is None else nullcontext(children) as used:
        return plan_in_children(matrix, used, machine, data_root, seconds), where


def execute(
    plan: Plan,
    device: str,
    out: str | Path | None,
    watcher: Watcher,
    children: Children | None = None,
    options: RunOptions | None = None,
) -> Report:
    """Run a plan and write its tables, its figures, and its report where that is asked for. Ctrl-C, SIGTERM or SIGHUP
    stops it: then it draws no figures, and KeyboardInterrupt or its subclass Terminated is raised. Plugins that have
    not been checked are proved beside the cells. A VaezooWarning says why figures or a report cannot be written.
    """
    from vaezoo.conformance.beside import Proving
    from vaezoo.reports.html.live import Reporting

    products.setting()  # a wrong one would fail each cell
    folder = Path(out) if out is not None else Path("results") / plan.name
    options = options or RunOptions()
    found = packs(chosen(plan.cells, options.selection), plan, options.engine.device(device))
    Thread(target=_import_what_writes, daemon=True).start()
    own = [cell for pack in options.selection.own(found) for cell in pack]
    watcher = Reporting(watcher, folder) if options.report else watcher
    try:
        with (
            signals_as_interrupt(),
            Children() if children is None else nullcontext(children) as used,
            Proving(watcher, used, folder, plan, own, prove=options.prove) as proving,
        ):
            report = carry_out(plan, folder, used, device=device, options=options, watcher=proving)
            proving.finish()
    except KeyboardInterrupt:
        if (folder / "plan.json").is_file():
            _write(folder, options, with_figures=False)
        raise
    _write(folder, options, with_figures=True)
    return report


def _import_what_writes() -> None:
    """Import what writes tables and figures, which is slow, while the cells run."""
    with suppress(Exception):  # it is raised again where it matters
        for name in ("tables", "drawing.folder", "drawing.charts", "drawing.grids"):
            import_module(f"vaezoo.reports.{name}")


def _write(folder: Path, options: RunOptions, *, with_figures: bool) -> None:
    """Write what a run ends with. Where figures or the report cannot be written, a VaezooWarning says why."""
    from vaezoo.reports.drawing.folder import draw_figures
    from vaezoo.reports.html.report import NAME, write_report
    from vaezoo.reports.tables import write_tables

    results = read_results(folder)
    write_tables(results, folder / "tables")
    further: dict[str, Callable[[], object]] = {}
    if with_figures:
        further["figures were not drawn"] = lambda: draw_figures(folder, results)
    if options.report:
        further["report was not written"] = lambda: write_report([folder], folder / NAME)
    for failed, write in further.items():
        try:
            write()
        except Exception as error:  # the results are there all the same
            warnings.warn(f"the {failed}: {reason_of(error)}", VaezooWarning, stacklevel=3)


def run(
    matrix: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    device: str = "auto",
    jobs: int | None = None,
    data_root: str | None = None,
    plugins: Sequence[str | Path] = (),
    on_event: Receiver | None = None,
    progress: bool | None = None,
    engine: str = "local",
    address: str | None = None,
    gpus_per_cell: float | None = None,
    check: bool = True,
) -> "pd.DataFrame":
    """Run a matrix (the path of a TOML file, or a dict of the same form) and return its results frame, one row a cell.

    It writes to results/<matrix name>/ unless `out` names another folder; cells that have a record there are not run
    again. Cells run in child processes, which do not import the script that calls this, unless it registers plugins
    itself. on_event is called with each `vaezoo.Event`: a start, an epoch, an end. progress: whether the cells that are
    done and those that run are shown; None: in a notebook. engine="ray" runs the cells on the Ray cluster at `address`,
    each with so many GPUs. check: whether plugins that `vaezoo check` has not proved yet are proved beside the cells.
    Raises VaezooError for invalid user input; a cell that fails is a row with its status and reason.
    """
    refuse_in_child()
    receivers = [] if on_event is None else [on_event]
    options = RunOptions(jobs=jobs, engine=EngineChoice(engine, address, gpus_per_cell), prove=check)
    with (
        signals_as_interrupt(),
        Children() as children,
        _shown(progress) as watcher,
        Events(watcher, receivers) as events,
    ):
        children.warm_up()
        plan, where = plan_of(matrix, children, device=device, data_root=data_root, plugins=plugins)
        return read_results(execute(plan, where, out, events, children, options).folder)


@contextmanager
def _shown(progress: bool | None) -> Iterator[Watcher]:
    """A watcher that shows a run, or one that prints nothing. progress: as in `run`."""
    from rich.console import Console

    from vaezoo.cli.progress import Live, in_notebook

    notebook = in_notebook()
    if not (notebook if progress is None else progress):
        yield Silent()
        return
    live = Live(Console(force_jupyter=notebook))
    try:
        yield live
    finally:
        live.close()
