"""A part of a user's data as a file holds it: rows that are read block by block, and how an error names one of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vaezoo.core.errors import VaezooError

Array = np.ndarray[Any, Any]
SPLITS = ("train", "valid", "test")
BLOCK_BYTES = 2**24
"""Bytes of the rows that are converted at a time."""


class Rows(Protocol):
    """Images [N, ...] that a slice reads: an array, a mapped file, a data set of an HDF5 file, a folder of images."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


def as_image(row: int) -> str:
    """`image 7`: the name of a row of an array, counted from 0."""
    return f"image {row}"


@dataclass(frozen=True)
class Part:
    """Images of a file, or of an array of a file, with their labels and contexts.

    x: [N, ...]. source: the file and the array, as an error names them. row: the name of one image. labels: [N].
    contexts: the columns of each, by name, [N] or [N, C]. remarks: what the user should know of how it was read, a line
    each. guessed: whether the labels were found by the name of their array alone.
    """

    x: Rows
    source: str
    row: Callable[[int], str] = field(default=as_image)
    labels: Array | None = None
    contexts: Mapping[str, Array] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    guessed: bool = False

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def place(self, row: int) -> str:
        """`mine.npz, array 'x_train', image 7`."""
        return f"{self.source}, {self.row(row)}"

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """(number of the first row, rows) of each block."""
        size = max(1, BLOCK_BYTES // max(1, int(np.prod(self.x.shape[1:])) * self.x.dtype.itemsize))
        for start in range(0, len(self), size):
            yield start, np.asarray(self.x[start : start + size])


Parts = dict[str, Part]
"""The parts by their splits; `train` always."""


@dataclass(frozen=True)
class Moved:
    """Rows whose axis of images is not the first: block by block, [N, ...]. axis: where it is."""

    x: Any
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = list(self.x.shape)
        return (sizes.pop(self.axis), *sizes)

    @property
    def dtype(self) -> Any:
        return self.x.dtype

    def __getitem__(self, rows: slice, /) -> Array:
        index = (slice(None),) * self.axis + (rows,)
        return np.moveaxis(np.asarray(self.x[index]), self.axis, 0)


def numeric(x: Rows, source: str) -> None:
    """Raise VaezooError for an array of text, of objects, of dates or of complex numbers."""
    kind = np.dtype(x.dtype).kind
    words = {"U": "text", "S": "text", "c": "complex numbers", "V": "records"}
    if kind == "O":
        raise VaezooError(f"{source} holds Python objects; save numbers")
    if kind not in "biuf":
        raise VaezooError(f"{source} holds {words.get(kind, str(x.dtype))}; images are numbers")


def sizes(x: Rows) -> str:
    """`[60000, 28, 28] of uint8`."""
    return f"{list(x.shape)} of {x.dtype}"
