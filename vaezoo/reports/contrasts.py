"""The effects of crossed settings as weights of rows: an effect in one seed is a weighted sum of the rows' numbers.

y = mean + sum of the axes' effects + sum of the pairs' interactions + rest, where the effects of an axis sum to 0 over
its levels, and the interactions of two axes over the levels of each. On a full product the effect of a level is the
mean of its rows minus the mean of all, and an interaction is the mean of the rows of two levels minus what the mean and
the two effects add up to. Where combinations lack, the effects are those of the least-squares fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product

import numpy as np


@dataclass(frozen=True)
class Term:
    """An axis, or two of them: their numbers, the levels, and for each of these the weight of each row [levels, R]."""

    axes: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]
    weights: np.ndarray


def terms(places: Sequence[tuple[int, ...]], sizes: Sequence[int]) -> tuple[list[Term], np.ndarray] | None:
    """The terms that the rows can tell apart, and the weights of the rest [R, R]. None where they cannot tell the axes.

    places: the level of each row on each axis; sizes: how many levels each axis has.
    """
    codes = [_sum_to_zero(size) for size in sizes]
    at = np.array(places)
    blocks = [np.ones((len(places), 1))]
    kept: list[tuple[int, ...]] = []
    pairs = list(combinations(range(len(sizes)), 2))
    for axes in [*((axis,) for axis in range(len(sizes))), *pairs]:
        block = reduce(_products, [codes[axis][at[:, axis]] for axis in axes])
        if np.linalg.matrix_rank(np.hstack([*blocks, block])) < sum(b.shape[1] for b in blocks) + block.shape[1]:
            if len(axes) == 1:
                return None
            continue
        blocks.append(block)
        kept.append(axes)
    design = np.hstack(blocks)
    fit = np.linalg.pinv(design)
    found, start = [], 1
    for axes, block in zip(kept, blocks[1:], strict=True):
        code = reduce(np.kron, [codes[axis] for axis in axes])
        levels = tuple(product(*(range(sizes[axis]) for axis in axes)))
        found.append(Term(axes, levels, code @ fit[start : start + block.shape[1]]))
        start += block.shape[1]
    return found, np.eye(len(places)) - design @ fit


def shares(found: Sequence[Term], rest: np.ndarray, numbers: np.ndarray) -> tuple[list[float], float, float]:
    """The variance of each term, of the rest, and of the seeds, of numbers [R, S]; that of the seeds is NaN for one.

    A number of a random combination and a random new seed varies by their sum. The variance of a term is the mean over
    its levels of effect^2 - v / S, where v is the variance of the effect over the S seeds: what the seeds add to the
    square by chance is subtracted, as in omega squared, so that each is unbiased and may be negative. That of the
    seeds is the mean over the rows of the variance over seeds.
    """
    seeds = numbers.shape[1]

    def size(weights: np.ndarray) -> float:
        """The mean square of the effects, without what the seeds add."""
        each = weights @ numbers
        chance = each.var(1, ddof=1) / seeds if seeds > 1 else 0.0
        return float(np.mean(each.mean(1) ** 2 - chance))

    within = float(np.mean(numbers.var(1, ddof=1))) if seeds > 1 else float("nan")
    return [size(term.weights) for term in found], size(rest), within


def _sum_to_zero(size: int) -> np.ndarray:
    """The levels of an axis in columns that sum to zero [size, size - 1]."""
    return np.vstack([np.eye(size - 1), -np.ones(size - 1)])


def _products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Every product of a column of one and a column of the other, row by row: `np.kron` of each pair of rows."""
    found: np.ndarray = (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)
    return found
