"""The user's own arrays in MATLAB's .mat format."""

from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own import example
from vaezoo.datasets._own.files import existing, unreadable
from vaezoo.datasets._own.formats import own_data
from vaezoo.datasets._own.names import array_parts
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Array, Parts
from vaezoo.registry import register


def _example(folder: Path) -> dict[str, Any]:
    from scipy.io import savemat

    x = example.images().transpose(0, 2, 1).reshape(60, 30)  # each image column by column, as MATLAB has them
    savemat(folder / "example.mat", {"train_data": x[:40], "test_data": x[40:]})
    return {"path": str(folder / "example.mat"), "shape": [6, 5], "transpose": True, **example.OPTIONS}


@register.dataset("mat", paper="MATLAB's MAT-file format, level 5; scipy.io.loadmat")
@own_data(_example)
def mat(options: OwnOptions, *, images: str | None = None) -> Parts:
    """Own data: the arrays of a .mat file up to version 7, images [N, ...] with their labels and contexts.

    images: as of `npz`. Images that stand in columns [D, N] are layout = "DN"; pixels that MATLAB stored column by
    column need shape and transpose. Raises VaezooError in one line that names file, array and image.
    """
    path = existing(options.path)
    return array_parts(read_mat(path), images, options, path, squeeze=True)


def read_mat(path: Path) -> dict[str, Array]:
    """The numeric and text arrays of a file."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(path, chars_as_strings=True)
    except NotImplementedError:  # version 7.3
        raise VaezooError(
            f"{path.name} is of MATLAB 7.3, which is HDF5: read it with name = 'hdf5' (its axes stand in reverse), or "
            "save it with -v7"
        ) from None
    except (OSError, ValueError, TypeError, MatReadError) as error:
        raise unreadable(path, "mat", "a .mat file", error) from None
    arrays = {name: each for name, each in found.items() if not name.startswith("__") and isinstance(each, np.ndarray)}
    found = {name: _texts(each) for name, each in arrays.items()}
    return {
        n: each
        for n, each in found.items()
        if each.dtype.kind in "US" or (each.dtype.kind in "biuf" and each.ndim >= 2)
    }


def _texts(array: Array) -> Array:
    """Rows of characters, which MATLAB fills with blanks, and cells of texts as one text each."""
    if array.dtype.kind in "US":
        return np.char.rstrip(array)
    if array.dtype.kind == "O" and all(isinstance(each, np.ndarray) and each.dtype.kind == "U" for each in array.flat):
        return np.array([str(each.item()) if each.size == 1 else "" for each in array.flat])
    return array
