"""The option `context = "labels"` of data sets with any number of classes."""

import torch
from torch import Tensor

from vaezoo.datasets._labels import Context, Pair, Triple


def with_classes(splits: tuple[Pair, Pair, Pair], classes: int, context: Context) -> tuple[Triple, Triple, Triple]:
    """The splits with their contexts: for "labels" the one-hot vectors of their labels, float32 [N, classes]."""

    def triple(x: Tensor, y: Tensor) -> Triple:
        """One split with its context."""
        return x, y, None if context is None else torch.nn.functional.one_hot(y, classes).to(torch.float32)

    train, valid, test = splits
    return triple(*train), triple(*valid), triple(*test)


def held_out(x: Tensor, y: Tensor, valid: int) -> tuple[Pair, Pair]:
    """Training and validation, which is the last `valid` images."""
    return (x[:-valid], y[:-valid]), (x[-valid:], y[-valid:])
