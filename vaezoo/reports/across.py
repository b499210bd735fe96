"""Mean ranks of the rows that stand on every data set, and whether they differ (Demsar 2006, JMLR 7, 1-30).

A data set ranks the rows by their mean iwll: a nat is worth more on one set than on another, a rank is not. Friedman's
test (for two rows the sign test) asks whether all mean ranks are equal. Where it says no, Nemenyi's critical difference
says which rows are told apart: those whose mean ranks differ by q sqrt(k (k + 1) / (6 N)) or more, for k rows on N data
sets, with q the 95 % point of the range of k standard normal variables over sqrt(2). Seeds are no data sets: they only
make each rank less noisy.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas

from vaezoo.reports.formats import Line, Sheet
from vaezoo.reports.statistics import SIGNIFICANT

if TYPE_CHECKING:
    from vaezoo.reports.tables import Table


@dataclass(frozen=True)
class Across:
    """Rows that are ranked on each of several data sets.

    ranks: label -> its rank on each data set, ties with their mean rank. p: of Friedman's test, None where not even
    rows that stand in one order on all of these data sets would be told apart. critical: Nemenyi's difference, None
    where Friedman's test does not say that rows differ. left_out: the labels that are ranked on some data sets only.
    """

    name: str
    datasets: tuple[str, ...]
    ranks: Mapping[str, tuple[float, ...]]
    p: float | None
    critical: float | None
    left_out: tuple[str, ...] = ()

    @property
    def mean_ranks(self) -> dict[str, float]:
        """The mean rank of each label, the best first; of equal ones in the order of the first data set's table."""
        means = {label: math.fsum(ranks) / len(ranks) for label, ranks in self.ranks.items()}
        return dict(sorted(means.items(), key=lambda pair: pair[1]))

    @property
    def not_told(self) -> frozenset[str]:
        """The labels that cannot be told from the one with the best mean rank, it among them."""
        means = self.mean_ranks
        best = min(means.values())
        able = math.inf if self.critical is None else self.critical
        return frozenset(label for label, mean in means.items() if mean == best or mean - best < able)

    @property
    def verdict(self) -> str:
        """What the tests say, in one sentence."""
        rows, sets = len(self.ranks), len(self.datasets)
        if self.p is None:
            return f"too few data sets ({sets}) to tell {rows} rows apart: no order of ranks would be significant"
        told = f"{'the sign' if rows == 2 else 'Friedman'} test: p = {self.p:.2g}"
        if self.critical is None:
            return f"{told}, so that the rows cannot be told apart on {sets} data sets"
        if rows == 2:
            return f"{told}, so that the two rows are told apart"
        return f"{told}; mean ranks that differ by {self.critical:.2f} or more are told apart (Nemenyi, 5 %)"

    @property
    def sheet(self) -> Sheet:
        """The mean ranks as a table, best first."""
        bold = frozenset() if self.critical is None else self.not_told
        lines = [
            Line((label, f"{mean:.2f}", *(f"{rank:g}" for rank in self.ranks[label])), frozenset([1] * (label in bold)))
            for label, mean in self.mean_ranks.items()
        ]
        lead = (
            f"Ranks by mean iwll of the {len(self.ranks)} rows that are ranked on all {len(self.datasets)} data sets."
        )
        lead += " Bold mean ranks cannot be told from the best one." if bold else ""
        notes = [self.verdict]
        if self.left_out:
            notes.append(f"left out, because they are not ranked on all data sets: {'; '.join(self.left_out)}")
        title = f"{self.name}: across data sets" if self.name else "across data sets"
        return Sheet(title, [lead], ["label", "mean rank ↓", *self.datasets], lines, [], notes)

    @property
    def frame(self) -> pandas.DataFrame:
        """The plain numbers: a row for each label, in the order of the mean ranks, with its rank on each data set."""
        columns: dict[str, list[object]] = {"label": list(self.mean_ranks), "mean_rank": list(self.mean_ranks.values())}
        columns["cannot_be_told_from_the_best"] = [label in self.not_told for label in self.mean_ranks]
        for place, dataset in enumerate(self.datasets):
            columns[f"rank on {dataset}"] = [self.ranks[label][place] for label in self.mean_ranks]
        return pandas.DataFrame(columns)


def across(tables: Sequence["Table"], name: str = "") -> Across | None:
    """The mean ranks over two tables or more; None where fewer than two rows are ranked on all. name: the matrix's."""
    values = []
    for table in tables:
        ranked = [row for row in table.rows if row in table.ranking.ranked and row.has("iwll")]
        values.append({row.label: row.cells["iwll"].mean for row in ranked if math.isfinite(row.cells["iwll"].mean)})
    if len(values) < 2:
        return None
    labels = [label for label in values[0] if all(label in each for each in values)]
    if len(labels) < 2:
        return None
    return of_numbers(
        np.array([[each[label] for label in labels] for each in values]),
        labels,
        [table.dataset for table in tables],
        tuple(dict.fromkeys(label for each in values for label in each if label not in labels)),
        name,
    )


def of_numbers(
    numbers: np.ndarray, labels: Sequence[str], datasets: Sequence[str], left_out: tuple[str, ...] = (), name: str = ""
) -> Across:
    """The mean ranks of rows by numbers [data sets, rows], higher is better."""
    from scipy.stats import binomtest, chi2, friedmanchisquare, rankdata, studentized_range

    sets, rows = numbers.shape
    ranks = rankdata(-numbers, axis=1)
    p = critical = None
    if rows == 2:  # for which Friedman's chi-squared is no good approximation
        wins, losses = (int((ranks[:, place] == 1).sum()) for place in (0, 1))
        if 2 ** (1 - sets) <= SIGNIFICANT:  # the p-value of one order on all data sets
            p = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
            critical = 0.0 if p <= SIGNIFICANT else None
    elif chi2.sf(sets * (rows - 1), rows - 1) <= SIGNIFICANT:
        p = float(friedmanchisquare(*ranks.T).pvalue) if np.ptp(ranks) else 1.0
        if p <= SIGNIFICANT:
            point = studentized_range.ppf(1 - SIGNIFICANT, rows, np.inf) / math.sqrt(2)
            critical = float(point * math.sqrt(rows * (rows + 1) / (6 * sets)))
    told = {label: tuple(column) for label, column in zip(labels, ranks.T.tolist(), strict=True)}
    return Across(name, tuple(datasets), told, p, critical, left_out)
