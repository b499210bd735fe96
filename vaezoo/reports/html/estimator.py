"""How good the estimate of log p(x) of each row is: heavy tails, the rise with K, and the interval of AIS."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaezoo.reports.errors import SEEDS, TEST_SET
from vaezoo.reports.html.folders import Cell
from vaezoo.reports.number_text import number_text
from vaezoo.reports.rows import TableRow
from vaezoo.reports.statistics import NOTHING, Paired, Summary, over_images, summarise
from vaezoo.runner.files import DamagedFile
from vaezoo.runner.store import Store

HEAVY = 0.7
"""The Pareto k above which the variance of the importance weights' mean cannot be relied on."""
NORMAL = 1.959964
"""The 0.975 quantile of the normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """The estimator of one row: texts, empty where something was not measured.

    error, test_set, seeds: the three standard errors of the iwll. tail: `reliable` where Pareto k is at most HEAVY,
    `lower bound` where it is above. ais: the mean over seeds with the 95 % interval over the images. gap: ais - iwll of
    the same images, paired, with its interval over the images.
    """

    iwll: str
    error: str
    test_set: str
    seeds: str
    effective: str
    pareto_k: str
    tail: str
    ais: str
    ais_iwll: str
    gap: str
    gap_value: Paired | None


def estimate(row: TableRow, cells: Sequence[Cell], store: Store) -> Estimate | None:
    """The estimator of a row; None where it has no iwll."""
    ok = [cell for cell in cells if cell.is_ok]
    iwll = _over(ok, "iwll")
    if not iwll.count:
        return None
    k = _over(ok, "pareto_k")
    gap = ais_gap(ok, store) if _over(ok, "ais").count else None
    return Estimate(
        number_text(iwll, "nats"),
        number_text(_over(ok, "iwll_standard_error")),
        number_text(row.cells.get(TEST_SET.name, NOTHING)),
        number_text(row.cells.get(SEEDS.name, NOTHING)),
        number_text(_over(ok, "effective_samples"), "count"),
        number_text(k),
        "" if not k.count else "reliable" if k.mean <= HEAVY else "lower bound",
        _with_interval(_over(ok, "ais"), _over(ok, "ais_standard_error")),
        number_text(_over(ok, "ais_iwll"), "nats"),
        "" if gap is None else f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]",
        gap,
    )


def _over(cells: Sequence[Cell], name: str) -> Summary:
    values = (cell.record.results.get(name) for cell in cells if cell.record is not None)
    return summarise(value for value in values if value is not None) if cells else NOTHING


def _with_interval(mean: Summary, error: Summary) -> str:
    """A mean over images with its interval, for a standard error over images (its mean over the seeds)."""
    if not mean.count:
        return ""
    if not error.count or not math.isfinite(error.mean):
        return number_text(mean, "nats")
    half = NORMAL * error.mean
    return f"{mean.mean:.2f} [{mean.mean - half:.2f}, {mean.mean + half:.2f}]"


def ais_gap(cells: Sequence[Cell], store: Store) -> Paired | None:
    """ais - iwll of the images that have both, in the mean over the seeds, with its interval over the images."""
    total: list[np.ndarray] = []
    for cell in cells:
        try:
            values = store.images(cell.plan.stem, cell.record, ("ais", "iwll")) if cell.record is not None else {}
        except DamagedFile:
            return None
        if "ais" not in values or "iwll" not in values:
            return None
        count = min(len(values["ais"]), len(values["iwll"]))
        total.append(values["ais"][:count].astype(np.float64) - values["iwll"][:count])
    if len({len(each) for each in total}) != 1 or len(total[0]) < 2:
        return None
    mean = np.mean(total, axis=0)
    return over_images(mean) if np.isfinite(mean).all() else None
