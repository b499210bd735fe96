"""Images that two splits of a data set share: always counted, refused where they are too many. Needs no torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Hashes = np.ndarray[Any, np.dtype[np.int64]]

ALLOWED = 0.01
"""The share of a split's images that may also stand in a larger split."""
WORDS = {"train": "train", "valid": "validation", "test": "test"}
"""Each split's name in a sentence."""


@dataclass(frozen=True)
class Overlap:
    """Two splits with equal images, the larger split first.

    images: distinct images that both have. copies: how many of the second split's images are among the first one's; of:
    how many images the second split has. excess: the copies divided by the number of them that is allowed; infinite
    where the two splits hold the same images.
    """

    first: str
    second: str
    images: int
    copies: int
    of: int
    excess: float

    def __str__(self) -> str:
        first, second = WORDS[self.first], WORDS[self.second]
        if self.excess == math.inf:
            return f"{second} and {first} hold the same {self.of} images"
        return f"{self.copies} of {self.of} {second} images ({self.copies / self.of:.2g}) are also {first} images"


def overlaps_of(hashes: Mapping[str, Hashes]) -> tuple[Overlap, ...]:
    """The pairs of splits that share an image: of train with valid, train with test, valid with test.

    hashes: an int64 for each image of each split, equal for equal images. The share ALLOWED of the second split's
    images may be copies. Where images repeat within train as those of independent draws do, as many may be as this
    predicts, and two standard errors more.
    """
    import numpy as np

    found = []
    counts = {name: np.unique(own, return_counts=True) for name, own in hashes.items()}
    together = np.unique(np.concatenate(list(hashes.values())), return_counts=True)[1]
    times = _natural_repeats(_multiplicities(together), _multiplicities(counts["train"][1]))
    for pair in combinations(hashes, 2):
        one, other = sorted(pair, key=lambda name: -len(hashes[name]))
        (first, of_first), (second, of_second) = counts[one], counts[other]
        shared = np.isin(second, first, assume_unique=True)
        if not shared.any():
            continue
        copies, of = int(of_second[shared].sum()), len(hashes[other])
        expected = of * _expected(times, len(hashes[one]))
        allowed = max(ALLOWED * of, expected + 2 * math.sqrt(expected))
        same = np.array_equal(first, second) and np.array_equal(of_first, of_second)
        found.append(Overlap(one, other, int(shared.sum()), copies, of, math.inf if same else copies / allowed))
    return tuple(found)


def _multiplicities(counts: Hashes) -> Counter[int]:
    """How many images occur j times, for each j."""
    import numpy as np

    times, images = np.unique(counts, return_counts=True)
    return Counter(dict(zip(times.tolist(), images.tolist(), strict=True)))


def refusal(found: Sequence[Overlap]) -> str | None:
    """Why a data set with these overlaps is refused; None where each is allowed."""
    for overlap in found:
        if overlap.excess > 1:
            return f"{overlap}; give each split images of its own (up to {ALLOWED:.0%} is allowed, and is shown)"
    return None


def in_words(found: Sequence[Overlap]) -> str:
    """`train and test share 4 images (5 of test's), validation and test 3`; empty where splits share none."""
    parts: list[str] = []
    for each in found:
        share, unit = ("", "") if parts else ("share ", f" image{'s' * (each.images != 1)}")
        copies = f" ({each.copies} of {WORDS[each.second]}'s)" if each.copies != each.images else ""
        parts.append(f"{WORDS[each.first]} and {WORDS[each.second]} {share}{each.images}{unit}{copies}")
    return ", ".join(parts)


def _natural_repeats(times: Counter[int], train: Counter[int]) -> Counter[int]:
    """How many distinct training images occur j times, for each j (`train`); empty where images do not repeat as
    independent draws do.

    With n_j of them in all splits together (`times`), independent draws from any distribution have
    j n_j^2 <= (j + 1) n_(j-1) n_(j+1) in expectation (Cauchy and Schwarz), here for j >= 2 and each n_j within three
    standard errors. Images that were copied before they were split have not.
    """
    most = {j: times[j] + 3 * math.sqrt(times[j] + 1) for j in range(1, max(times) + 2)}
    for j in range(2, max(times) + 1):
        if j * max(0.0, times[j] - 3 * math.sqrt(times[j])) ** 2 > (j + 1) * most[j - 1] * most[j + 1]:
            return Counter()
    return train


def _expected(times: Counter[int], size: int) -> float:
    """The share of new draws that would be among `size` images, by how often images repeat within train.

    A training image that occurs j times has a copy in a random part f of the others with probability
    1 - (1 - f)^(j - 1).
    """
    total = sum(j * n for j, n in times.items()) or 1
    part = min(1.0, size / total)
    return sum(j * n * (1 - (1 - part) ** (j - 1)) for j, n in times.items()) / total
