"""Denormal numbers, float32 below 1.2e-38, count as 0 while a model trains and while log p(x) is estimated.

A processor takes many times as long for each of them. The moments of Adam decay to denormal numbers where the gradient
of a weight is 0 for some hundred steps, as behind a pixel that is hardly ever on or a unit that is dead; and e^-|l| is
one for a logit beyond 87, as trained models have at such pixels.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_DENORMAL = 1e-39


def flushed() -> bool:
    """Whether this thread counts denormal numbers as 0. torch can only be told to, not asked."""
    return float(torch.full((), _DENORMAL, dtype=torch.float32, device="cpu") * 1) == 0


def flush(on: bool = True) -> None:
    """Count denormal numbers as 0 from now on, or no longer, in this thread and in those that it then starts: torch's
    threads too, where it has not multiplied yet. Nothing changes on a processor that cannot.
    """
    torch.set_flush_denormal(on)


@contextmanager
def flushing() -> Iterator[None]:
    """Inside, this thread counts denormal numbers as 0; afterwards as before."""
    before = flushed()
    flush()
    try:
        yield
    finally:
        flush(before)


def use_threads(count: int) -> None:
    """Have torch compute with so many threads as in the process of a cell: those that torch starts now flush denormal
    numbers from then on, also in operations after this call. This thread itself goes on as before.
    """
    with flushing():
        torch.set_num_threads(count)
        torch.ones(2**20, device="cpu").add_(1)  # starts them
