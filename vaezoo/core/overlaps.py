"""Images that two splits of a data set share: always counted, refused where they are too many. Needs no torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaezoo.core.data import Dataset, Split

ALLOWED = 0.01
"""The share of a split's images that may also stand in a larger split."""
BLOCK = 1000
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


def overlaps(dataset: Dataset) -> tuple[Overlap, ...]:
    """The pairs of splits that share an image: of train with valid, train with test, valid with test.

    Images are equal where all their pixels are, dequantised ones where all their levels are. The share ALLOWED of the
    second split's images may be copies. Where images repeat within train as those of independent draws do, as many may
    be as this predicts, and two standard errors more.
    """
    counts, found = _counts(dataset), []
    repeated = _repeated(counts["train"])
    for pair in combinations(counts, 2):
        one, other = sorted(pair, key=lambda name: -counts[name].total())
        first, second = counts[one], counts[other]
        if not (shared := first.keys() & second.keys()):
            continue
        copies, of = sum(second[image] for image in shared), second.total()
        expected = of * repeated * first.total() / counts["train"].total()
        allowed = max(ALLOWED * of, expected + 2 * math.sqrt(expected))
        excess = math.inf if first == second else copies / allowed
        found.append(Overlap(one, other, len(shared), copies, of, excess))
    return tuple(found)


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


def _repeated(train: Counter[int]) -> float:
    """The share of training images that have a copy within train, where independent draws explain it; else 0.

    With n_j the number of distinct images that occur j times, independent draws from any distribution have
    4 n_2^2 <= 6 n_1 n_3 in expectation (Cauchy and Schwarz). A data set that was copied before it was split has not.
    """
    times = Counter(train.values())
    chance = times[3] + 2 * math.sqrt(times[3] + 1)
    if 4 * times[2] ** 2 > 6 * times[1] * chance:
        return 0.0
    return 1 - times[1] / train.total()


def _counts(dataset: Dataset) -> dict[str, Counter[int]]:
    """How often each split holds each image, by a hash of 64 bits. Hashes of several processes are not the same."""
    splits = {name: getattr(dataset, name) for name in WORDS}
    mixed = len({split.x.dtype for split in splits.values()}) > 1
    return {name: Counter(_hashes(split, mixed)) for name, split in splits.items()}


def _hashes(split: Split, mixed: bool) -> Iterator[int]:
    """The hash of every image. mixed: whether the splits are stored in whole numbers of several sizes."""
    spec = split.spec
    for block in split.x.split(BLOCK):
        if spec.measure == "continuous":
            values = block + 0.0 if spec.levels is None else (block * spec.levels).floor().int()
        elif spec.binarisation == "dynamic":
            values = block if split.dynamic else block * 255
        else:
            values = block.int() if mixed else block
        rows = values.flatten(1).contiguous().numpy()
        yield from map(hash, rows.view(f"V{rows.shape[1] * rows.itemsize}").ravel().tolist())
