"""Whether a column of a context can be the log of the library size that count likelihoods read."""

import math

import torch
from torch import Tensor

ROWS = 4096
"""Images that are looked at."""
FARTHEST = math.log(100)
"""How far, in the median, the column may be from the log of the sum of an image's counts: the sum over the chosen genes
may be a small part of all counts.
"""


def not_a_library(column: Tensor, counts: Tensor) -> str | None:
    """What a column holds instead of the log of the library size; None where it can be that. [N], [N, *shape]"""
    column = column[:ROWS].double()
    if bool(((column == 0) | (column == 1)).all()):
        return "it holds 0 and 1 alone"
    sums = counts[:ROWS].flatten(1).sum(1, dtype=torch.float64)
    far = (column - sums.clamp(min=0.5).log()).median().abs()
    if float(far) > FARTHEST:
        found, expected = float(column.median()), float(sums.log().median())
        return f"its median is {found:.4g}, while that of the log of the sums is {expected:.4g}"
    return None
