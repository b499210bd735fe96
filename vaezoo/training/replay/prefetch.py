"""Normal noise drawn for many steps at once, before they run."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaezoo.core import noise

NUMBERS = {"cpu": 2**17, "cuda": 2**22}
"""The most normal numbers that are drawn at once; it decides for how many steps they are drawn."""
FEWEST_STEPS = 4
"""The fewest steps to draw for at once; with fewer, nothing is gained."""


class PrefetchedNoise:
    """The results of the calls of `noise.normal` in a step, in tables with a row for each of the coming steps.

    The numbers are those that the step would draw itself, at a fraction of the operations. (A small net's step spends
    much of its time on some seventy operations that draw a few thousand numbers.) The first step shows which calls
    there are. keys: the key of each step of an epoch, [steps], of a pack [steps, S]. order: the images of each step,
    [steps, B], of a pack [steps, S, B]. Both change in place.
    """

    def __init__(self, keys: Tensor, order: Tensor, dtype: torch.dtype):
        self.keys, self.order, self.dtype = keys, order, dtype
        self.calls: dict[int, tuple[int, ...]] | None = None
        self.tables: dict[int, Tensor] = {}
        self.row = torch.zeros(1, dtype=torch.int64, device=keys.device)
        self._drawn_until = 0

    def start_epoch(self) -> None:
        """Forget the numbers drawn, since keys and order have changed."""
        self._drawn_until = 0

    @contextmanager
    def around(self, step: int, steps: int) -> Iterator[None]:
        """The context of step number `step` of the epoch's `steps`: its noise lies in the tables."""
        if self.calls is None:
            with noise.observed_normals() as calls:
                yield
            self.calls = calls
            self._allocate(calls)
            return
        if self.tables and step >= self._drawn_until:
            self._draw(step, steps, self.calls)
        yield

    def rows(self) -> dict[int, Tensor]:
        """This step's row of each table: number of the call -> its result."""
        return {number: row_of(table, self.row) for number, table in self.tables.items()}

    def advance(self) -> None:
        """Move to the next row, on the device, as part of the step."""
        if self.tables:
            self.row += 1

    def _allocate(self, calls: dict[int, tuple[int, ...]]) -> None:
        """Make tables for as many steps as NUMBERS allows, or none where those are too few."""
        seeds = self.keys.shape[1:]
        numbers = sum(math.prod(shape) for shape in calls.values()) * seeds.numel()
        steps = min(NUMBERS[self.keys.device.type] // max(numbers, 1), len(self.keys))
        if steps >= FEWEST_STEPS:
            for number, shape in calls.items():
                self.tables[number] = torch.zeros(steps, *seeds, *shape, dtype=self.dtype, device=self.keys.device)

    def _draw(self, step: int, steps: int, calls: dict[int, tuple[int, ...]]) -> None:
        """Fill the tables for the steps from `step` on."""
        self._drawn_until = min(step + len(next(iter(self.tables.values()))), steps)
        coming = slice(step, self._drawn_until)
        draw: Callable[..., Any] = partial(noise.normals_of_calls, calls=calls, dtype=self.dtype)
        for _ in self.keys.shape:
            draw = torch.vmap(draw)
        for number, found in draw(self.keys[coming], self.order[coming]).items():
            self.tables[number][: len(found)] = found
        self.row.zero_()


def row_of(table: Tensor, number: Tensor) -> Tensor:
    """table[number], number [1] int64. (Indexing by a tensor would wait for the device.)"""
    return table.index_select(0, number).view(table.shape[1:])
