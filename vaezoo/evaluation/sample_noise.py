"""The noise of blocks of samples, drawn for several blocks at once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from vaezoo.core import noise

NUMBERS = {"cpu": 2**18, "cuda": 2**22}
"""The most normal numbers that are drawn at once."""


class SampleNoise:
    """Streams for blocks of samples of the same images, which begin at sample 0 and follow each other.

    The numbers are those that each block would draw itself. The first block shows which calls of `noise.normal` there
    are; their results for the next blocks are then drawn together, at a fraction of the operations.

    key: of the stream. index: [B], the images' numbers in their split. samples: K, of all blocks.
    """

    def __init__(self, key: int, index: Tensor, samples: int, dtype: torch.dtype):
        self.key = torch.tensor(key, dtype=torch.int64, device=index.device)
        self.index, self.samples, self.dtype = index, samples, dtype
        self._calls: dict[int, tuple[int, ...]] | None = None
        self._drawn: dict[int, Tensor] = {}
        self._start = 0

    @contextmanager
    def block(self, first: int, samples: int) -> Iterator[None]:
        """The stream of the block of samples first .. first + samples - 1. After an error it may be opened anew."""
        with noise.observed_normals() as calls:
            drawn = self._drawn_for(first, samples)
            try:
                with noise.stream(self.key, index=self.index, first=first, dtype=self.dtype, prefetched=drawn):
                    yield
            except BaseException:
                self._drawn = {}  # the block may have changed its numbers in place
                raise
        self._calls = {number: shape for number, shape in calls.items() if shape[0] == samples}

    def _drawn_for(self, first: int, samples: int) -> dict[int, Tensor]:
        """The block's part of what is drawn; nothing where not even two blocks can be drawn at once."""
        calls = self._calls or {}
        numbers_a_sample = sum(math.prod(shape[1:]) for shape in calls.values())
        at_once = NUMBERS["cpu" if self.index.device.type == "cpu" else "cuda"] // max(numbers_a_sample, 1)
        if not numbers_a_sample or at_once < 2 * samples:
            return {}
        end = self._start + (len(next(iter(self._drawn.values()))) if self._drawn else 0)
        if not self._start <= first <= first + samples <= end:
            many = min(at_once // samples * samples, self.samples - first)
            shapes = {number: (many, *shape[1:]) for number, shape in calls.items()}
            self._drawn = noise.normals_of_calls(self.key, self.index, shapes, self.dtype, first)
            self._start = first
        place = first - self._start
        return {number: table[place : place + samples] for number, table in self._drawn.items()}
