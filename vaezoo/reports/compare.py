"""What changed between two results folders, as `vaezoo compare` shows it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas

from vaezoo.core.columns import TIMED, Column
from vaezoo.core.errors import VaezooError, unknown
from vaezoo.reports.changes import TOLERANCE, Change, quality_changes, speed_changes
from vaezoo.reports.comparison_lines import (
    changed_status,
    differing_settings,
    half_measured,
    incomparable,
    lost_cells,
    lost_numbers,
    unmatched,
    without_proof,
)
from vaezoo.reports.comparison_sheets import comparison_sheets, loss_text
from vaezoo.reports.formats import Sheet
from vaezoo.reports.pairs import Folder, Pair, paired, read_folder
from vaezoo.reports.statistics import Paired


@dataclass(frozen=True)
class Comparison:
    """What changed from one results folder, the reference, to another.

    changes: each judged column of each row, and its speeds. cells: those that both have; columns: the judged ones.
    losses: each significant loss in words, also a cell that was ok and is not. unmatched: the cells of one folder only.
    notes: what else changed, what could not be compared and why, which settings differ.
    """

    before: Path
    after: Path
    changes: tuple[Change, ...]
    cells: tuple[Pair, ...] = field(repr=False)
    columns: tuple[Column, ...] = field(repr=False)
    losses: tuple[str, ...]
    unmatched: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether every cell of either folder has the same status and the same results in the other; times and memory
        do not count.
        """
        return not self.unmatched and all(pair.same for pair in self.cells)

    @property
    def exit_code(self) -> int:
        """That of `vaezoo compare`: 0, 1 where there is a loss, 2 where no number of quality could be compared."""
        if self.losses:
            return 1
        names = {column.name for column in self.columns}
        compared = (c for c in self.changes if c.column.name in names and c.verdict != "not comparable")
        return 0 if any(True for _ in compared) else 2

    @property
    def verdict(self) -> str:
        """One line: `no significant loss`, or how many losses there are, and which."""
        if not self.losses:
            return "no significant loss" if self.exit_code == 0 else "no number of quality could be compared"
        count = len(self.losses)
        return f"{count} loss{'es' * (count > 1)}: {'; '.join(self.losses)}"

    def frame(self) -> pandas.DataFrame:
        """The plain numbers of the changes, one row each, in the units of a results frame."""
        rows = []
        for change in self.changes:
            row: dict[str, Any] = {"label": change.label, "variant": change.variant, "dataset": change.dataset}
            row |= {"column": change.column.name, "before": change.before.mean, "after": change.after.mean}
            row["ratio"] = change.ratio
            for name, found in (("seeds", change.seeds), ("images", change.images)):
                row |= {f"{name}_{key}": value for key, value in asdict(found or _NO_PAIRS).items()}
            rows.append(row | {"p_holm": change.p, "verdict": change.verdict, "reason": change.reason})
        return pandas.DataFrame(rows)

    def cell_frame(self) -> pandas.DataFrame:
        """The plain numbers of the cells that both folders have, one row for each cell and judged column."""
        rows = []
        for pair in self.cells:
            label, variant, dataset, seed = pair.key
            for column in self.columns:
                old, new = (side.numbers.get(column.name, math.nan) for side in (pair.before, pair.after))
                if math.isnan(old) and math.isnan(new):
                    continue
                row = {"label": label, "variant": variant, "dataset": dataset, "seed": seed, "column": column.name}
                row |= {"status_before": pair.before.status, "status_after": pair.after.status}
                rows.append(row | {"before": old, "after": new, "difference": new - old})
        return pandas.DataFrame(rows)

    @property
    def sheets(self) -> list[Sheet]:
        """The tables: for each data set its rows in the mean, then its cells that changed."""
        return comparison_sheets(self.changes, self.cells, self.columns)


_NO_PAIRS = Paired(math.nan, math.nan, math.nan, 0, math.nan)


def compare(
    before: str | Path, after: str | Path, *, tolerance: float = TOLERANCE, metrics: Sequence[str] = ()
) -> Comparison:
    """What changed from the results folder `before`, the reference, to the folder `after`.

    tolerance: the share of a speed that may be lost. metrics: the columns of quality that are judged; all that have a
    direction where none are named. Raises VaezooError where a folder holds no results or the two share no cell, and for
    another tolerance or column.
    """
    if not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise VaezooError(f"tolerance must be a share from 0 to below 1, as 0.05 for 5 %, got {tolerance!r}")
    old, new = read_folder(before), read_folder(after)
    columns = _judged_columns(old, new, metrics)
    cells, timings = paired(old.cells, new.cells), paired(old.timings, new.timings)
    if not cells:
        raise VaezooError(
            f"{before} and {after} share no cell (label, variant, data set and seed), so that nothing can be compared; "
            "give two results folders of the same matrix"
        )
    changes = (*quality_changes(cells, columns, old, new), *speed_changes(timings, tolerance))
    losses = (
        *lost_cells([*cells, *timings]),
        *lost_numbers(cells, columns),
        *(loss_text(change) for change in changes if change.is_loss),
    )
    notes = (
        *changed_status([*cells, *timings]),
        *incomparable(cells, columns),
        *incomparable(timings, TIMED),
        *half_measured(cells, [column.name for column in columns]),
        *half_measured(timings, [column.name for column in TIMED]),
        *differing_settings([*cells, *timings]),
        *without_proof(old, new),
    )
    alone = tuple(unmatched(old, new))
    return Comparison(Path(before), Path(after), changes, tuple(cells), columns, losses, alone, notes)


def _judged_columns(old: Folder, new: Folder, metrics: Sequence[str]) -> tuple[Column, ...]:
    """The columns of quality that have a direction, or those of them that are named."""
    speeds = {column.name for column in TIMED}
    every = {column.name: column for column in (*old.columns, *new.columns) if column.is_one}
    able = {name: column for name, column in every.items() if column.better and name not in speeds}
    for name in metrics:
        if name in every and name not in able:
            raise VaezooError(
                f"--metric {name}: it has no better direction that could be judged; there are: {', '.join(able)}"
            )
        if name not in able:
            raise VaezooError(f"--metric {name}: {unknown('column', name, able)}")
    return tuple(able[name] for name in dict.fromkeys(metrics or able))
