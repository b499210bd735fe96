"""Runs a matrix from Python, from its file to the frame of its results. The command line calls these functions too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaezoo.registry import existing_file
from vaezoo.runner.engines.main_guard import refuse_in_import_of_worker
from vaezoo.runner.machine.device import cores, describe, resolve_device
from vaezoo.runner.matrix.file import Matrix, load
from vaezoo.runner.plan.cell import Kind, Task
from vaezoo.runner.plan.planner import Plan, make_plan
from vaezoo.runner.records import Status
from vaezoo.runner.results import read_results
from vaezoo.runner.run import Report, Watcher, carry_out, sigterm_as_interrupt
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
    *,
    device: str = "auto",
    data_root: str | None = None,
    plugins: Sequence[str | Path] = (),
) -> tuple[Plan, str]:
    """The plan of a matrix and the device it is for. Raises VaezooError for invalid user input."""
    for plugin in plugins:
        existing_file(plugin)
    if not isinstance(matrix, Matrix):
        matrix = load(matrix, [Path(plugin) for plugin in plugins])
    where = resolve_device(device)
    kind = where.partition(":")[0]
    return make_plan(matrix, data_root=data_root, device=describe(where), kind=kind, threads=cores()), where


def execute(plan: Plan, device: str, out: str | Path | None, jobs: int | None, watcher: Watcher) -> Report:
    """Run a plan and write its tables, also when Ctrl-C or SIGTERM stops it: then KeyboardInterrupt or its subclass
    Terminated is raised.
    """
    from vaezoo.reports.tables import write_tables

    folder = Path(out) if out is not None else Path("results") / plan.name
    try:
        with sigterm_as_interrupt():
            report = carry_out(plan, folder, device=device, jobs=jobs, watcher=watcher)
    except KeyboardInterrupt:
        if (folder / "plan.json").is_file():
            write_tables(read_results(folder), folder / "tables")
        raise
    write_tables(read_results(folder), folder / "tables")
    return report


def run(
    matrix: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    device: str = "auto",
    jobs: int | None = None,
    data_root: str | None = None,
    plugins: Sequence[str | Path] = (),
) -> "pd.DataFrame":
    """Run a matrix (the path of a TOML file, or a dict of the same form) and return its results frame, one row a cell.

    It writes to results/<matrix name>/ unless `out` names another folder; cells that have a record there are not run
    again. Cells run in child processes, so a script calls it under `if __name__ == "__main__":`. Raises VaezooError for
    invalid user input; a cell that fails is a row with its status and reason.
    """
    refuse_in_import_of_worker()
    plan, where = plan_of(matrix, device=device, data_root=data_root, plugins=plugins)
    return read_results(execute(plan, where, out, jobs, Silent()).folder)
