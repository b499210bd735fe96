"""Rows of an array in an .npz file, read block by block: compressed files larger than memory."""

from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.parts import Array


class ZippedRows:
    """The array [N, ...] called `name` of an .npz file. Blocks are read in their order; row 0 begins anew."""

    def __init__(self, path: Path, name: str):
        self.path, self.name = path, name
        self._stream: IO[bytes] | None = None
        self._next = 0
        self.shape, self.dtype = self._opened()

    def _opened(self) -> tuple[tuple[int, ...], Any]:
        """Begin with row 0; shape and dtype."""
        if self._stream is not None:
            self._stream.close()
        with ZipFile(self.path) as file:  # an open member keeps the file open
            self._stream, self._next = file.open(f"{self.name}.npy"), 0
        version = np.lib.format.read_magic(self._stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(self._stream)
        if fortran or dtype.hasobject:
            raise VaezooError(f"{self.path.name}, array {self.name!r}: save it in C order, and numbers alone")
        return shape, dtype

    def __getitem__(self, rows: slice, /) -> Array:
        start, stop, _ = rows.indices(self.shape[0])
        if start < self._next:
            self._opened()
        assert self._stream is not None
        size = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        while self._next < start:
            self._next += len(self._stream.read(min(2**20 // size + 1, start - self._next) * size)) // size
        data = bytearray(self._stream.read((stop - start) * size))
        self._next = stop
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])
