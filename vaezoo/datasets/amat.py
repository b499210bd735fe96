"""The user's own table in an .amat file: numbers between spaces, without a header."""

from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.datasets._own import example
from vaezoo.datasets._own.formats import own_data
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Parts
from vaezoo.datasets._own.single import split_files
from vaezoo.datasets._own.table import table_parts
from vaezoo.datasets._own.text import read_table
from vaezoo.registry import register


def _example(folder: Path) -> dict[str, Any]:
    np.savetxt(folder / "example.amat", example.images().reshape(60, 30), "%d")
    return {"path": str(folder / "example.amat"), "shape": [6, 5], **example.OPTIONS}


@register.dataset("amat", paper="Larochelle et al. (2007), doi:10.1145/1273496.1273556")
@own_data(_example)
def amat(options: OwnOptions) -> Parts:
    """Own data: a file with a line for each image, and its pixels between spaces.

    labels: the number of their column, -1 for the last. shape = [28, 28] gives images to convolutions. valid and test
    may be further files. Raises VaezooError in one line that names file, line and column.
    """
    tables = {split: read_table(path, "amat", False, r"\s+") for split, path in split_files(options).items()}
    return table_parts(tables, options)
