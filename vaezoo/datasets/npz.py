"""The user's own arrays in NumPy's .npz format."""

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
            arrays = {name: _array(file, name, path) for name in file.files}
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        if isinstance(error, VaezooError):
            raise
        raise unreadable(path, "npz", "an .npz file", error) from None
    return array_parts(arrays, images, options, path)


def _array(file: Any, name: str, path: Path) -> Array | ZippedRows:
    """An array; one that is larger than what is kept in memory block by block."""
    try:
        if file.zip.getinfo(f"{name}.npy").file_size > RESIDENT_BYTES:
            return ZippedRows(path, name)
        array: Array = file[name]
    except ValueError:
        raise VaezooError(f"{path.name}, array {name!r} holds Python objects; save numbers or text") from None
    return array
