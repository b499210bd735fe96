"""Which cells of a plan a run does: those that are chosen and have no record that makes another run needless."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from vaezoo.core.errors import VaezooError, nearest
from vaezoo.runner.plan.cell import Cell
from vaezoo.runner.records import Record
from vaezoo.runner.store import Store

State = Literal["done", "to run", "failed", "skipped", "left out"]


@dataclass(frozen=True)
class Selection:
    """Which cells to run. rows, variants, datasets: patterns (`vae*`) for labels and names; one of each kind must fit,
    where there are any. shard: (i, n), the i-th of n equal parts, from 1. retry_failed: also cells whose failure would
    come again. force: also cells that are done. timings: whether speeds are measured.
    """

    rows: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None
    retry_failed: bool = False
    force: bool = False
    timings: bool = True

    def chooses(self, cell: Cell) -> bool:
        """Whether the patterns fit a cell."""
        dataset = cell.specification.dataset.name
        return (
            _fits(self.rows, cell.label)
            and _fits(self.variants, cell.variant)
            and _fits(self.datasets, cell.dataset, dataset)
        )

    def check(self, cells: Sequence[Cell]) -> None:
        """VaezooError for a pattern that fits no cell of the plan."""
        asked = (
            ("--only", self.rows, {cell.label for cell in cells}),
            ("--variant", self.variants, {cell.variant for cell in cells}),
            ("--dataset", self.datasets, {cell.dataset for cell in cells}),
        )
        for option, patterns, known in asked:
            names = known | {cell.specification.dataset.name for cell in cells} if option == "--dataset" else known
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise VaezooError(f"{option} {pattern!r} fits no row of the matrix; {nearest(pattern, known)}")

    def state(self, cell: Cell, record: Record | None) -> State:
        """What a run with this selection does with a cell that has this record."""
        if cell.skip is not None:
            return "skipped"
        if not self.chooses(cell):
            return "left out"
        if self.force or record is None or record.status == "interrupted" or record.may_pass or record.pending_metrics:
            return "to run"
        if record.is_final:
            return "done"
        return "to run" if self.retry_failed else "failed"

    def pending(self, cells: Sequence[Cell], store: Store) -> list[Cell]:
        """The cells to run, each key once. The shard is not regarded here, because it is one of packs."""
        asked = {cell.stem: cell for cell in cells if cell.skip is None and self.chooses(cell)}
        return [
            cell for stem, cell in asked.items() if self.state(cell, store.record(cell.kind, stem, cell)) == "to run"
        ]

    def own(self, packs: Sequence[list[Cell]]) -> list[list[Cell]]:
        """The packs of this shard, of all packs of the chosen cells in the order of the matrix."""
        return list(packs) if self.shard is None else list(packs[self.shard[0] - 1 :: self.shard[1]])


def _fits(patterns: Sequence[str], *names: str) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def parse_shard(text: str) -> tuple[int, int]:
    """`2/5` as (2, 5). VaezooError for anything else."""
    first, slash, last = text.partition("/")
    if not (slash and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise VaezooError(f"--shard must be i/n with 1 <= i <= n, got {text!r}; write for example --shard 1/4")
    return int(first), int(last)
