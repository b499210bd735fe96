"""Which images each split gets: those of its own file or array, or a seeded choice of the training images."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import SPLITS, Array, Parts

SHARE = 0.1
"""The share of the images that validation and test get where nothing is said."""
WORDS = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Choice:
    """The rows of a part that make a split, in their order. contiguous: whether they are a range."""

    part: str
    rows: Array

    @property
    def contiguous(self) -> bool:
        return bool(len(self.rows) == 0 or (np.diff(self.rows) == 1).all())


def choices(parts: Parts, kept: dict[str, Array], options: OwnOptions) -> dict[str, Choice]:
    """The rows of each split. kept: of each part, those that are used, rising.

    Raises VaezooError for a split that would be empty, and for sizes that leave no training image.
    """
    found = {split: Choice(split, kept[split]) for split in SPLITS if split in parts}
    rows, source = kept["train"], parts["train"].source
    sizes = {
        split: _size(split, getattr(options, split), len(rows), source) for split in SPLITS[1:] if split not in found
    }
    train = len(rows) - sum(sizes.values())
    if train < 1:
        asked = " and ".join(f"{size} for {WORDS[split]}" for split, size in sizes.items())
        raise VaezooError(f"{source} has {len(rows)} images: {asked} leave none for training; ask for fewer")
    for split, part in parts.items():
        if len(found[split].rows) == 0:
            raise VaezooError(f"{part.source} has no image for {WORDS[split]}")
    if options.order == "shuffled" and sizes:
        key = noise.derive(options.split_seed, "own data", "split")
        rows = rows[noise.mix(torch.arange(len(rows), device="cpu") + key).argsort().numpy()]
    place = train
    for split, size in sizes.items():
        found[split] = Choice("train", rows[place : place + size])
        place += size
    found["train"] = Choice("train", rows[:train])
    return found


def _size(split: str, asked: int | float | str | None, images: int, source: str) -> int:
    if asked is None:
        asked = SHARE
    assert not isinstance(asked, str)  # a file or an array, which is a part
    if isinstance(asked, float) and not 0 < asked < 1:
        raise VaezooError(f"{split} must be a number of images or a fraction between 0 and 1, got {asked:g}")
    size = asked if isinstance(asked, int) else math.ceil(asked * images)
    if size < 1:
        raise VaezooError(
            f"{split} = {asked} leaves {WORDS[split]} empty; take some of the {images} images of {source}, "
            f"for example {split} = {max(1, images // 10)}"
        )
    return size
