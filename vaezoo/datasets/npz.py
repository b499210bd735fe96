"""The user's own arrays in NumPy's .npz format."""

import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own import example
from vaezoo.datasets._own.files import existing, unreadable
from vaezoo.datasets._own.formats import own_data
from vaezoo.datasets._own.names import array_parts
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Array, Parts
from vaezoo.datasets._own.store import RESIDENT_BYTES
from vaezoo.datasets._own.zipped import ZippedRows
from vaezoo.registry import register


def _example(folder: Path) -> dict[str, Any]:
    x = example.images()
    np.savez(folder / "example.npz", x_train=x[:40], x_test=x[40:])
    return {"path": str(folder / "example.npz"), **example.OPTIONS}


@register.dataset("npz", paper="NumPy's .npz format, numpy.lib.format")
@own_data(_example)
def npz(options: OwnOptions, *, images: str | None = None) -> Parts:
    """Own data: the arrays of an .npz file, images [N, ...] with their labels and contexts.

    images: the array of the training images; where left out, an array called x, data or images, alone or with train in
    its name, else the only array of images. Arrays of the same name with valid and test are those splits; labels are
    in y, labels or targets. Raises VaezooError in one line that names file, array and image.
    """
    path = existing(options.path)
    try:
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise unreadable(path, "npz", "an .npz file", "it holds a single array")
            names = [name for name in file.files if file.zip and f"{name}.npy" in file.zip.namelist()]
            if not names:
                raise VaezooError(f"{path.name} holds no array; write it with numpy.savez")
            arrays = {name: _array(file, name, path) for name in names}
    except (OSError, ValueError, BadZipFile, EOFError, zlib.error) as error:
        if isinstance(error, VaezooError):
            raise
        raise unreadable(path, "npz", "an .npz file", error) from None
    return array_parts(arrays, images, options, path)


def _array(file: Any, name: str, path: Path) -> Array | ZippedRows:
    """An array; one that is larger than what is kept in memory block by block, of Python objects its shape alone."""
    try:
        if file.zip.getinfo(f"{name}.npy").file_size > RESIDENT_BYTES:
            return ZippedRows(path, name)
        array: Array = file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        with file.zip.open(f"{name}.npy") as member:
            version = np.lib.format.read_magic(member)
            old = version == (1, 0)
            shape = (np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0)(member)[0]
        return np.broadcast_to(np.array(None, dtype=object), shape)
    return array
