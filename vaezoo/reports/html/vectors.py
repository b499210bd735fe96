"""Vectors that metrics store beside their numbers, over the seeds of a row."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vaezoo.reports.html.curves import ends
from vaezoo.reports.html.folders import Cell
from vaezoo.reports.statistics import summarise


def vectors(cells: Sequence[Cell], name: str) -> list[np.ndarray]:
    """The vector of this name of each ok seed that has it, its groups one after the other. NaN where there is none."""
    found = []
    for cell in cells:
        stored = cell.record.vectors.get(name) if cell.record is not None and cell.is_ok else None
        if stored is None:
            continue
        try:
            groups = [np.array([math.nan if v is None else v for v in np.ravel(each)], float) for each in stored]
        except (TypeError, ValueError):  # a metric from outside stored something else under this name
            continue
        found.append(np.concatenate(groups))
    lengths = {len(each) for each in found}
    return found if len(lengths) == 1 else []


def spectrum(cells: Sequence[Cell], name: str) -> list[list[float | None]] | None:
    """The mean and the ends over seeds of each entry of a vector, largest entries first."""
    found = [np.sort(each[np.isfinite(each)])[::-1] for each in vectors(cells, name)]
    if not found or not min(map(len, found)):
        return None
    return ends([summarise(values) for values in zip(*(each.tolist() for each in found), strict=False)])


def iwll_curve(cells: Sequence[Cell]) -> dict[str, Any] | None:
    """The iwll at each K, with the mean and the ends over seeds; None where it was not measured."""
    samples, values = vectors(cells, "iwll_curve_samples"), vectors(cells, "iwll_curve")
    if not samples or len(samples) != len(values) or len(samples[0]) != len(values[0]):
        return None
    shared = zip(*(each.tolist() for each in values), strict=True)
    return {"samples": [int(k) for k in samples[0]], "iwll": ends([summarise(each) for each in shared])}
