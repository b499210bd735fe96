"""The rank of each row of a column: 1 for those that cannot be told from the best, else 1 + how many are told above.

Rows that cannot be told apart may have other ranks only where a third row can be told from one of them and not from the
other. Two rows are compared as the contest compares a row with the best, with its factors: see reports/contest.py. Its
m, for two rows i and j, is the larger of the medians of the variances of i - others and of j - others.
"""

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from vaezoo.reports.contest import MOST_FILES, Contest, PerImage, half_width
from vaezoo.reports.statistics import ROUNDING


def places(rows: Sequence[Mapping[Hashable, float]], images: PerImage, better: int, found: Contest) -> list[int | None]:
    """The rank of each row; None for one that shares no seed with the best. found: their contest."""
    bold = set(found.bold(better))
    above = _told_above(rows, images, better).sum(0)
    return [
        None if gap is None and place != found.best else 1 if place in bold else 1 + max(1, int(above[place]))
        for place, gap in enumerate(found.gaps)
    ]


def _told_above(rows: Sequence[Mapping[Hashable, float]], images: PerImage, better: int) -> np.ndarray:
    """Whether the first row is told above the second one [R, R]."""
    seeds = list(dict.fromkeys(seed for row in rows for seed in row))
    numbers = np.array([[row.get(seed, math.nan) for seed in seeds] for row in rows])
    there = np.isfinite(numbers)
    shared = there.astype(int) @ there.T.astype(int)
    kept = np.where(there, numbers, 0.0)
    with np.errstate(all="ignore"):
        differences = kept[:, None] - kept[None]
        both = there[:, None] & there[None]
        mean = np.where(both, differences, 0.0).sum(2) / shared
        variance = (np.where(both, differences - mean[:, :, None], 0.0) ** 2).sum(2) / (shared - 1)
        variance[(shared < 2) | np.eye(len(rows), dtype=bool)] = math.nan
        middle = np.array([np.median(each[~np.isnan(each)]) if (~np.isnan(each)).any() else 0.0 for each in variance])
        widest = np.fmax(variance, np.maximum(middle[:, None], middle[None]))
        of_seeds = np.where(shared > 1, widest / np.maximum(shared, 1), 0.0)
        of_images, counts = _image_errors(rows, images)
        half = np.zeros(shared.shape)
        for seeds_of_pair, count in {*zip(shared.flat, counts.flat, strict=True)}:
            alike = (shared == seeds_of_pair) & (counts == count)
            half[alike] = half_width(len(rows), seeds_of_pair, of_seeds[alike], count, of_images[alike])
        tested = (shared > 1) | ((shared == 1) & (counts > 0))
        scale = np.abs(kept).max(1)
        told = tested & (np.abs(mean) > half) & (np.abs(mean) > ROUNDING * np.maximum(scale[:, None], scale[None]))
        above: np.ndarray = told & (better * mean > 0)
    return above


def _image_errors(rows: Sequence[Mapping[Hashable, float]], images: PerImage) -> tuple[np.ndarray, np.ndarray]:
    """The squared standard error over the images of each difference [R, R], and their number: 0 where values are not
    there.
    """
    few = max(1, MOST_FILES // len(rows))
    profiles: list[np.ndarray | None] = []
    for place, row in enumerate(rows):
        read = [images(place, seed) for seed in list(row)[:few]]
        usable = [each.astype(np.float64) for each in read if each is not None and each.ndim == 1 and len(each) > 1]
        is_whole = len(usable) == len(read) and len({each.shape for each in usable}) == 1
        profiles.append(np.array(usable) if is_whole and np.isfinite(usable).all() else None)
    squares, counts = np.zeros((len(rows), len(rows))), np.zeros((len(rows), len(rows)), dtype=int)
    alike: dict[int, list[int]] = {}
    for place, profile in enumerate(profiles):
        if profile is not None:
            alike.setdefault(profile.shape[1], []).append(place)
    for count, at in alike.items():
        chosen = [profile for place in at if (profile := profiles[place]) is not None]
        means = np.array([profile.mean(0) for profile in chosen])
        over = _spread(means - means.mean(1, keepdims=True)) / (count - 1)
        found = {tuple(rows[place])[:few] for place in at}
        if len(found) == 1 and (seeds := len(next(iter(found)))) > 1:
            over = np.maximum(over - _spread(_residuals(np.array(chosen))) / ((seeds - 1) * (count - 1) * seeds), 0.0)
        squares[np.ix_(at, at)] = over / count
        counts[np.ix_(at, at)] = count
    return squares, counts


def _residuals(values: np.ndarray) -> np.ndarray:
    """What is left of values [R, S, N] without the means of each row's seeds and images [R, S N]."""
    left = values - values.mean(1, keepdims=True) - values.mean(2, keepdims=True) + values.mean((1, 2), keepdims=True)
    flat: np.ndarray = left.reshape(len(values), -1)
    return flat


def _spread(values: np.ndarray) -> np.ndarray:
    """The squared distance of each pair of rows [R, R] of values [R, N]."""
    products = values @ values.T
    own = np.diag(products)
    found: np.ndarray = np.maximum(own[:, None] + own[None] - 2 * products, 0.0)
    return found
