"""Where the images of a split are kept: in memory, or beyond RESIDENT_BYTES in a file that is mapped into memory."""

import os
import tempfile

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.parts import Array

RESIDENT_BYTES = 2**30
"""Bytes of a split from which on it is mapped."""


def room(shape: tuple[int, ...], dtype: str) -> Array:
    """An array to be filled. A large one is a file in the temporary folder (TMPDIR), which ends with its last user.

    The system writes the pages of such a file to the disk and drops them where it needs memory. Raises VaezooError
    where the folder has no space for it.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= RESIDENT_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="vaezoo-data-") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            raise VaezooError(
                f"{size / 2**30:.1f} GiB of images do not fit into {tempfile.gettempdir()} ({error.strerror}); "
                "free some space, or set TMPDIR to a folder that has it"
            ) from None
        return np.memmap(file, dtype, "r+", shape=shape)
