"""The user's own images in the IDX format of MNIST, also gzipped."""

import gzip
import math
import struct
import zlib
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

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The third byte of a file, and the numbers that follow."""
GZIP = b"\x1f\x8b"


def _example(folder: Path) -> dict[str, Any]:
    x = example.images()
    with gzip.open(folder / "example-ubyte.gz", "wb") as file:
        file.write(struct.pack(">BBBB3I", 0, 0, 8, 3, *x.shape) + x.tobytes())
    return {"path": str(folder / "example-ubyte.gz"), **example.OPTIONS}


@register.dataset("idx", paper="LeCun et al. (1998), Gradient-Based Learning Applied to Document Recognition")
@own_data(_example)
def idx(options: OwnOptions) -> Parts:
    """Own data: images [N, ...] of an IDX file, the format of MNIST, also gzipped.

    valid, test, labels and context may be further such files. A file that is not gzipped is mapped and not read into
    memory. Raises VaezooError in one line that names file and image.
    """
    return single_parts(options, read_idx)


def read_idx(path: Path) -> Array:
    """The array of a file. VaezooError where its size is not the one that its first bytes say."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(4)
            dtype = TYPES.get(head[2]) if len(head) == 4 and head[:2] == b"\0\0" else None
            if dtype is None:
                raise unreadable(path, "idx", "an IDX file", "it does not begin as one")
            shape = struct.unpack(f">{head[3]}I", file.read(4 * head[3]))
            data = file.read() if packed else b""
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise unreadable(path, "idx", "an IDX file", error) from None
    start, count = 4 + 4 * head[3], math.prod(shape)
    found, expected = len(data) if packed else path.stat().st_size - start, count * np.dtype(dtype).itemsize
    if found != expected:
        raise VaezooError(
            f"{path.name} is damaged: its head says {list(shape)}, which is {expected} bytes, and {found} follow; "
            "write or download it again"
        )
    if packed:
        return np.frombuffer(data, dtype).reshape(shape).copy()
    return np.memmap(path, dtype, "c", offset=start, shape=shape)
