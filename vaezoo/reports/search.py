"""Sweeps with `select = "validation"`: of their rows one is chosen by its validation iwll and reported on test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vaezoo.reports.ranking import Remarks
from vaezoo.reports.rows import TableRow


@dataclass(frozen=True)
class Searches:
    """The searches among the rows of a data set.

    searched: the rows that are shown as a search and not ranked. remarks: what a reader must know of these and of the
    chosen ones.
    """

    searched: frozenset[TableRow]
    remarks: Remarks


def searches(rows: Sequence[TableRow]) -> Searches:
    """Chooses a row of each search: the best mean validation iwll over seeds, of the rows with most seeds (fewer are no
    reason to look better). A pseudo-likelihood and a row with a proof that fails are not chosen.
    """
    found: dict[str, list[TableRow]] = {}
    for row in rows:
        if row.search is not None:
            found.setdefault(row.search, []).append(row)
    remarks: dict[TableRow, list[str]] = {}
    searched: set[TableRow] = set()
    for members in found.values():
        able = [row for row in members if row.validation and not row.pseudo_likelihood and not row.disproved]
        most = max((len(row.validation) for row in able), default=0)
        chosen = max((row for row in able if len(row.validation) == most), key=_mean, default=None)
        others = [row for row in members if row is not chosen]
        searched |= set(others)
        count = f"{len(members)} row{'s' * (len(members) > 1)}"
        if chosen is None:
            remarks |= {row: [f"searched, not ranked: none of {count} has a validation iwll"] for row in others}
        else:
            value = f"{_mean(chosen):.2f}"
            remarks[chosen] = [f"chosen of {count} searched, by its validation iwll ({value})"]
            why = f"{chosen.label} has the best validation iwll ({value}) of {count}"
            remarks |= {row: [f"searched, not ranked: {why}"] for row in others}
    return Searches(frozenset(searched), remarks)


def _mean(row: TableRow) -> float:
    return math.fsum(row.validation.values()) / len(row.validation)
