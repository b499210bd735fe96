"""The values of each test image that a results folder holds beside its records."""

import math
import warnings
from collections.abc import Hashable
from functools import lru_cache
from typing import Protocol

import numpy as np

from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.reports.contest import MOST_FILES
from vaezoo.runner.files import DamagedFile
from vaezoo.runner.plan.stored import StoredCell
from vaezoo.runner.records import Record
from vaezoo.runner.store import Store

SCALED = {"bits_per_dim": "iwll"}
"""Columns that fall by 1 / (D ln 2) for each nat of another column, with images of D dimensions, plus a number of the
data set (`metrics/likelihood.py`): records hold the other column's values of each image alone."""


def stored_images(store: Store, stem: str, record: Record | None, column: str) -> np.ndarray | None:
    """A column's value for each test image; None where there is no readable file."""
    try:
        return None if record is None else store.images(stem, record, (column,)).get(column)
    except DamagedFile:
        return None


class ImageSource(Protocol):
    """Where the values of each test image are."""

    def of(self, dataset: str, label: str, seed: Hashable, column: str, number: float) -> np.ndarray | None:
        """The values of one cell [N], whose mean is `number`; None where there are none, or the mean is another."""


class ImageValues:
    """Reads the per-image values of a results folder's cells when a ranking asks for them, and keeps the last files.

    folder: that of the results, or None; where it is gone there are no values. columns: those that are asked for.
    """

    def __init__(self, folder: str | None, columns: tuple[str, ...]) -> None:
        self._store = None if folder is None else Store(folder)
        self._columns = tuple(dict.fromkeys(SCALED.get(column, column) for column in columns))
        self._cells: dict[tuple[str, str, Hashable], StoredCell] | None = None
        self._kept = lru_cache(MOST_FILES + 1)(self._read)

    def of(self, dataset: str, label: str, seed: Hashable, column: str, number: float) -> np.ndarray | None:
        """The values of one cell [N], whose mean is `number`; None where there are none, or the mean is another."""
        values = self._kept(dataset, label, seed).get(column)
        if values is None or not len(values):
            return None
        mean = float(values.mean(dtype=np.float64))
        if column in SCALED:
            return values + (number - mean)
        return values if abs(mean - number) <= 1e-5 * max(1.0, abs(number)) else None

    def _read(self, dataset: str, label: str, seed: Hashable) -> dict[str, np.ndarray]:
        """The values of one cell by column. A damaged file is left out with a VaezooWarning."""
        if self._store is None or (cell := self._index(self._store).get((dataset, label, seed))) is None:
            return {}
        try:
            if not self._store.path("images", cell.stem).is_file():
                return {}
            record = self._store.record("cells", cell.stem, cell)
            if record is None:
                return {}
            found = self._store.images(cell.stem, record, self._columns)
        except DamagedFile as error:
            warnings.warn(f"{error}; the rankings do without", VaezooWarning, stacklevel=2)
            return {}
        if record.data is not None:
            nats_a_bit = math.prod(record.data.shape) * math.log(2)
            scaled = {column: other for column, other in SCALED.items() if other in found}
            found |= {column: found[other].astype(np.float64) / -nats_a_bit for column, other in scaled.items()}
        return found

    def _index(self, store: Store) -> dict[tuple[str, str, Hashable], StoredCell]:
        if self._cells is None:
            try:
                self._cells = {(cell.dataset, cell.label, cell.seed): cell for cell in store.plan().cells}
            except VaezooError:  # the folder has gone since the frame was read
                self._cells = {}
        return self._cells
