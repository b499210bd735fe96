"""Reads the arrays of an .npz file, whatever its content is. Needs no torch."""

import io
import warnings
from collections.abc import Container
from zipfile import ZipFile

import numpy as np


def arrays_of(content: bytes, largest: int, names: Container[str] | None = None) -> dict[str, np.ndarray]:
    """name -> array of an .npz file without pickles: all arrays, or those of `names` alone.

    largest: bytes that the arrays may have together. Raises ValueError, in one line, for anything else.
    """
    try:
        with warnings.catch_warnings(), ZipFile(io.BytesIO(content)) as parts:
            warnings.simplefilter("ignore")
            if sum(part.file_size for part in parts.infolist()) > largest:
                raise ValueError(f"expected at most {largest:,} bytes")
            with np.load(io.BytesIO(content), allow_pickle=False) as found:
                return {str(name): np.asarray(found[name]) for name in found.files if names is None or name in names}
    except Exception as error:  # numpy and zipfile raise many kinds for a damaged file
        raise ValueError((str(error) or type(error).__name__).splitlines()[0][:200]) from None
