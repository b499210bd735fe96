"""The three errors of a row's mean iwll, each by itself: of the estimator, of the test set, and of training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vaezoo.core.columns import TEST_ERRORS, Column
from vaezoo.reports.number_text import ten_digits
from vaezoo.reports.rows import TableRow
from vaezoo.reports.standings import NumberImages
from vaezoo.reports.statistics import summarise

TEST_SET, SEEDS = TEST_ERRORS


@dataclass(frozen=True)
class Errors:
    """Standard errors of the mean iwll of a row over its seeds, in nats; NaN where one is not known.

    monte_carlo: of the importance samples, sqrt(sum_s e_s^2) / S, where e_s is that of seed s: more samples make it
    smaller. test_set: of the N test images, the standard deviation over images of the mean over seeds, / sqrt(N): other
    images would give another mean. seeds: of training anew, the standard deviation over seeds / sqrt(S). They are not
    added: the one of the test set contains most of that of the samples, and rows share their images, so that it hardly
    counts in the difference of two rows.
    """

    monte_carlo: float
    test_set: float
    seeds: float


def errors(row: TableRow, images: NumberImages | None = None) -> Errors:
    """The three errors of a row's iwll. images: where the values of each image are."""
    numbers, sampled = row.numbers.get("iwll", {}), row.numbers.get("iwll_standard_error", {})
    values = list(numbers.values())
    monte_carlo = math.hypot(*sampled.values()) / len(sampled) if sampled else math.nan
    found = [] if images is None else [images(row.label, seed, "iwll", numbers[seed]) for seed in numbers]
    each = [value for value in found if value is not None]
    test_set = math.nan
    if each and len(each) == len(found) and len({value.shape for value in each}) == 1 and len(each[0]) > 1:
        mean = np.mean(np.array(each, dtype=np.float64), 0)
        test_set = float(mean.std(ddof=1)) / math.sqrt(len(mean))
    several = len(values) > 1 and all(map(math.isfinite, values))
    return Errors(
        monte_carlo, test_set, float(np.std(values, ddof=1)) / math.sqrt(len(values)) if several else math.nan
    )


def with_errors(rows: Sequence[TableRow], images: NumberImages | None) -> list[TableRow]:
    """The rows with the errors of the test set and of the seeds as cells."""
    made = []
    for row in rows:
        found = errors(row, images)
        cells = {
            TEST_SET.name: summarise([ten_digits(found.test_set)]),
            SEEDS.name: summarise([ten_digits(found.seeds)]),
        }
        made.append(replace(row, cells={**row.cells, **cells}))
    return made


def with_error_columns(columns: Sequence[Column]) -> list[Column]:
    """The columns with those of the errors after the Monte-Carlo error."""
    place = next((n for n, column in enumerate(columns, 1) if column.name == "iwll_standard_error"), len(columns))
    return [*columns[:place], *TEST_ERRORS, *columns[place:]]
