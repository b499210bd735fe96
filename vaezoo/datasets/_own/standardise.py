"""Subtracts the training images' mean and divides by their standard deviation, in place."""

import torch
from torch import Tensor

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.parts import Part

ROWS = 4096


def standardise(images: dict[str, Tensor], part: Part, *, together: bool) -> None:
    """Give the training images mean 0 and standard deviation 1, and change the other splits alike.

    together: all pixels by one mean and deviation, else each by its own. images: float32, by split, changed in place.
    Raises VaezooError for a pixel or column that is constant in training.
    """
    train = images["train"]
    total, count = torch.zeros(train.shape[1:], dtype=torch.float64), len(train)
    for block in train.split(ROWS):
        total += block.double().sum(0)
    mean = total.mean() / count if together else total / count
    squares = torch.zeros_like(total)
    for block in train.split(ROWS):
        squares += (block.double() - mean).square().sum(0)
    variance = squares.mean() / count if together else squares / count
    constant = (variance == 0).reshape(-1)
    if constant.any():
        first = int(constant.nonzero()[0])
        raise VaezooError(
            f"{part.source}: {int(constant.sum())} of {constant.numel()} values are the same in every training image, "
            f"first number {first}; leave them out, or standardise = 'all' (one mean and deviation for all)"
        )
    for x in images.values():
        for block in x.split(ROWS):
            block.copy_((block.double() - mean) / variance.sqrt())
