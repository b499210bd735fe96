"""The user's own array in NumPy's .npy format."""

from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own import example
from vaezoo.datasets._own.files import unreadable
from vaezoo.datasets._own.formats import own_data
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Array, Parts
from vaezoo.datasets._own.single import single_parts
from vaezoo.registry import register


def _example(folder: Path) -> dict[str, Any]:
    np.save(folder / "example.npy", example.images())
    return {"path": str(folder / "example.npy"), **example.OPTIONS}


@register.dataset("npy", paper="NumPy's .npy format, numpy.lib.format")
@own_data(_example)
def npy(options: OwnOptions) -> Parts:
    """Own data: the array of an .npy file, images [N, ...], which is mapped and not read into memory.

    valid, test, labels and context may be further .npy files. Raises VaezooError in one line that names file and image.
    """
    return single_parts(options, read_npy)


def read_npy(path: Path) -> Array:
    """The array of a file, mapped; writing to it does not change the file."""
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise VaezooError(f"{path.name} holds Python objects, or is no .npy file; save numbers") from None
        raise unreadable(path, "npy", "an .npy file", error) from None
    if not isinstance(array, np.ndarray):
        raise unreadable(path, "npy", "an .npy file", "it holds several arrays")
    return array
