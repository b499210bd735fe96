"""The user's own table in a CSV file."""

from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own import example
from vaezoo.datasets._own.formats import own_data
from vaezoo.datasets._own.options import Column, OwnOptions
from vaezoo.datasets._own.parts import Parts
from vaezoo.datasets._own.single import split_files
from vaezoo.datasets._own.table import table_parts
from vaezoo.datasets._own.text import OPENERS, read_table
from vaezoo.registry import register


def _example(folder: Path) -> dict[str, Any]:
    x = example.images().reshape(60, 30)
    np.savetxt(folder / "example.csv", x, "%d", ",", header=",".join(f"pixel{n}" for n in range(30)), comments="")
    return {"path": str(folder / "example.csv"), **example.OPTIONS}


@register.dataset("csv", paper="Shafranovich (2005), RFC 4180")
@own_data(_example)
def csv(
    options: OwnOptions,
    *,
    columns: tuple[Column, ...] | None = None,
    header: bool | None = None,
    separator: str | None = None,
) -> Parts:
    """Own data: a table with a row for each image, or each observation, and columns of pixels, labels and context.

    columns: those of the pixels, by name or by number from 0; all but labels and context when left out. header: whether
    the first line names the columns; when left out, it does where a cell of it is no number. separator: a comma, or a
    tab in a .tsv file. valid and test may be further files, whose columns are found by their names. Raises
    VaezooError in one line that names file, line and column.
    """
    tables = {}
    for split, path in split_files(options).items():
        between = separator or ("\t" if path.suffix.lower() == ".tsv" else ",")
        if separator is None and path.suffix.lower() not in OPENERS:
            _refuse_other_separator(path, between)
        tables[split] = read_table(path, "csv", header, between)
    return table_parts(tables, options, columns)


def _refuse_other_separator(path: Path, between: str) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline()
    for other in (";", "\t", "|"):
        if other in line and between not in line:
            raise VaezooError(f"{path.name} has one column, and {other!r} in its first line: say separator = {other!r}")
