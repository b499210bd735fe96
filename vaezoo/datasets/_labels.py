"""The option `context = "labels"` of the labelled data sets."""

from typing import Literal

import torch
from torch import Tensor

Context = Literal["labels"] | None
"""What a conditional model sees of each image: its class, or nothing."""
Pair = tuple[Tensor, Tensor]
"""Images and labels of a split."""
Triple = tuple[Tensor, Tensor, Tensor | None]
"""Images, labels and context of a split."""
CLASSES = 10


def with_context(train: Pair, valid: Pair, test: Pair, context: Context) -> tuple[Triple, Triple, Triple]:
    """The splits with their contexts: for "labels" the one-hot vectors of their labels, float32 [N, CLASSES]."""

    def triple(x: Tensor, y: Tensor) -> Triple:
        """One split with its context."""
        return x, y, None if context is None else torch.nn.functional.one_hot(y, CLASSES).to(torch.float32)

    return triple(*train), triple(*valid), triple(*test)
