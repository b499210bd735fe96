"""SplitMix64 (Steele et al. 2014) run as a counter: random 64-bit words as a pure function of their number."""

import torch
from torch import Tensor

from vaezoo.core import compiled
from vaezoo.core.own_operators import operator
from vaezoo.core.torch_internals import transform_active

LOOP = "vaezoo.core._words_loop"
"""The module whose loop makes many words in one pass: those of torch's operators, bit for bit."""
MANY = 2**14
"""The fewest words for which it is called."""


def signed(value: int) -> int:
    """The int64 that has the bits of an unsigned one."""
    return value - (1 << 64) if value >= 1 << 63 else value


GOLDEN = signed(0x9E3779B97F4A7C15)
FIRST = signed(0xBF58476D1CE4E5B9)
SECOND = signed(0x94D049BB133111EB)


def mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of the 64-bit integers that makes neighbours unrelated. int64, any shape."""
    for by, factor in ((30, FIRST), (27, SECOND), (31, 1)):
        shifted = z >> by
        shifted &= (1 << 64 - by) - 1  # a logical shift: torch's keeps the sign
        shifted ^= z
        if factor != 1:
            shifted *= factor
        z = shifted
    return z


def counted(start: Tensor, rows: int, numbers: int) -> Tensor:
    """The words of K rows of counters, of which each goes on from row to row by so many numbers. [...] -> [K, ...]"""
    step = signed(numbers * GOLDEN % (1 << 64))
    if rows * start.numel() >= MANY and _loop_takes(start):
        return _by_loop(start, rows, step)
    return mix(start + torch.arange(rows, device=start.device).view(-1, *[1] * start.dim()) * step)


def _loop_takes(start: Tensor) -> bool:
    """Whether the counters lie in memory as the loop reads them, and there is a loop."""
    plain = type(start) is Tensor and start.dtype == torch.int64 and start.device.type == "cpu"
    seen = transform_active() or torch.compiler.is_compiling()
    return plain and not seen and compiled.loop(LOOP) is not None


@operator("words(Tensor start, int rows, int step) -> Tensor")
def _by_loop(start: Tensor, rows: int, step: int) -> Tensor:
    """`counted`, as an operator of torch."""
    loop = compiled.loop(LOOP)
    assert loop is not None
    assert start.dtype == torch.int64
    start = start.contiguous()
    words = start.new_empty(rows, *start.shape)
    loop(start.data_ptr(), words.data_ptr(), rows, start.numel(), step)
    return words
