"""The noise of the coming steps, drawn for many of them at once."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError

NUMBERS = {"cpu": 2**17, "cuda": 2**22}
"""So many normal numbers are drawn at once, for as many steps as that is."""
FEWEST = 4
"""For fewer steps at once it gains nothing."""
NEEDED = "the noise of this step is drawn ahead: restart it with the order of the images to come"


class NoiseAhead:
    """What the calls of `noise.normal` in a step give, in tables with a row for each of the coming steps.

    The same numbers as the step would draw itself, in a fraction of the operations: much of a small net's step is
    otherwise spent on drawing a few thousand numbers in some seventy of them. The first step shows which calls there
    are. keys: the key of each step of an epoch, [steps], of a pack [steps, S], which change in place.
    """

    def __init__(self, keys: Tensor, dtype: torch.dtype):
        self.keys, self.dtype = keys, dtype
        self.order: Tensor | None = None
        self.calls: dict[int, tuple[int, ...]] | None = None
        self.tables: dict[int, Tensor] = {}
        self._row = torch.zeros(1, dtype=torch.int64, device=keys.device)
        self._step = self._left = 0

    def restart(self, order: Tensor | None) -> None:
        """Begin an epoch whose images come in this order; None: each step draws for itself. VaezooError where the steps
        count on the tables, and for an order of more steps than an epoch has.
        """
        if order is None and self.tables:
            raise VaezooError(NEEDED)
        if order is not None and len(order) > len(self.keys):
            raise VaezooError(f"an epoch has {len(self.keys)} steps, got an order of {len(order)}")
        self.order, self._step, self._left = order, 0, 0

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Around a step: its noise lies in the tables. After a step that failed it must be restarted."""
        order, self.order = self.order, None
        if order is None and self.tables:
            raise VaezooError(NEEDED)
        if order is None:
            yield
            return
        if self.calls is None:
            with noise.observed_normals() as calls:
                yield
            self.calls = calls
            self._make_room(calls)
        else:
            if self.tables and not self._left:
                self._draw(order, self.calls)
            yield
            self._left -= 1
        self._step += 1
        self.order = order

    def now(self) -> dict[int, Tensor]:
        """The rows of this step: number of the call -> its numbers."""
        return {number: row_of(table, self._row) for number, table in self.tables.items()}

    def advance(self) -> None:
        """On the device, as part of the step."""
        if self.tables:
            self._row += 1

    def _make_room(self, calls: dict[int, tuple[int, ...]]) -> None:
        seeds = self.keys.shape[1:]
        numbers = sum(math.prod(shape) for shape in calls.values()) * seeds.numel()
        steps = min(NUMBERS[self.keys.device.type] // max(numbers, 1), len(self.keys))
        if steps >= FEWEST:
            for number, shape in calls.items():
                self.tables[number] = torch.zeros(steps, *seeds, *shape, dtype=self.dtype, device=self.keys.device)

    def _draw(self, order: Tensor, calls: dict[int, tuple[int, ...]]) -> None:
        if self._step == len(order):
            raise VaezooError(f"{NEEDED}; this one had {len(order)} steps")
        rows = slice(self._step, min(self._step + len(next(iter(self.tables.values()))), len(order)))
        draw: Callable[..., Any] = partial(noise.normals_of_calls, calls=calls, dtype=self.dtype)
        for _ in self.keys.shape:
            draw = torch.vmap(draw)
        for number, found in draw(self.keys[rows], order[rows]).items():
            self.tables[number][: len(found)] = found
        self._row.zero_()
        self._left = rows.stop - rows.start


def row_of(table: Tensor, number: Tensor) -> Tensor:
    """table[number], number [1] int64. (Indexing by a tensor would wait for the device.)"""
    return table.index_select(0, number).view(table.shape[1:])
