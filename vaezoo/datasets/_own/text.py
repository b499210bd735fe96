"""Reads tables of text: whether the first line has names, its cells, and the line of the file that a row stands on."""

import bz2
import csv
import gzip
import lzma
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TextIO

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.files import unreadable

OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|", re.IGNORECASE)
MISSING = {"na", "nan", "n/a", "#n/a", "null", "none", "-nan"}
"""Words for a cell without a value."""


@dataclass(frozen=True)
class Table:
    """A table of a file. frame: of pandas; without a line of names its columns are numbers. named: whether the first
    line names the columns; nameless: whether it leaves the first one without a name, as of row names.
    """

    path: Path
    separator: str
    frame: Any
    named: bool
    nameless: bool = False

    def line(self, row: int) -> int:
        """The line of the file, from 1, on which a row begins; blank lines and line breaks in quotes count."""
        lines = (line for line, _ in _records(self.path, self.separator))
        return next(islice(lines, row + self.named, None), row + 1)

    def place(self, row: int) -> str:
        """`line 12`"""
        return f"line {self.line(row)}"


def read_table(path: Path, reader: str, header: bool | None, separator: str) -> Table:
    """The table of a file. header: whether its first line names the columns; None looks at that line.

    reader: the name of the data set that reads it. Raises VaezooError for a file that is no table, a first row with
    more cells than names, and a first line of numbers 0, 1, 2, .., which may be names.
    """
    import pandas as pd

    try:
        first = list(islice(_records(path, separator), 2))
        if not first:
            raise unreadable(path, reader, "a table", "it is empty")
        names = first[0][1]
        named = _names(names, path) if header is None else header
        if named and len(first) > 1 and len(first[1][1]) > len(names):
            raise VaezooError(
                f"{path.name}, line {first[1][0]} has {len(first[1][1])} cells, the header {len(names)}; give each "
                "column a name, and remove separators at the ends of lines"
            )
        with _opened(path) as file:
            how: dict[str, Any] = {"sep": separator, "skipinitialspace": True, "low_memory": False}
            if len(separator) > 1 and separator != r"\s+":
                how |= {"engine": "python"}
                how.pop("low_memory")
            frame = pd.read_csv(file, header=0 if named else None, **how)
    except UnicodeDecodeError:
        raise unreadable(path, reader, "a table", "it is no text in UTF-8; save it as UTF-8") from None
    except (ValueError, OSError, EOFError, zlib.error, lzma.LZMAError, csv.Error, re.error) as error:
        if isinstance(error, VaezooError):
            raise
        said = str(error).removeprefix("Error tokenizing data. C error: ")
        raise unreadable(path, reader, "a table", said) from None  # pandas' parser: ragged lines
    if len(frame) == 0:
        raise VaezooError(f"{path.name} has a line of names and no row")
    return Table(path, separator, frame, named, named and not names[0].strip() and any(map(str.strip, names)))


def is_number(cell: str) -> bool:
    """Whether pandas reads a cell as a number, or as a missing one."""
    cell = cell.strip(" \t")
    return NUMBER.fullmatch(cell) is not None or cell.lower() in MISSING


def _names(cells: Sequence[str], path: Path) -> bool:
    """Whether the first line names the columns. VaezooError where it may or may not."""
    if not all(map(is_number, cells)):
        return True
    nameless = len(cells) > 2 and not cells[0].strip()
    counted = cells[1:] if nameless else cells
    rising = len(counted) > 1 and all(re.fullmatch(r"\d{1,9}", cell.strip()) for cell in counted)
    rising = rising and all(int(b) - int(a) == 1 for a, b in pairwise(counted))
    if rising and not nameless:
        shown = ", ".join(map(str.strip, cells[:3])) + (", .." if len(cells) > 3 else "")
        raise VaezooError(
            f"{path.name}, line 1 holds {shown}, which may be names of columns or the first row: say header = true or "
            "header = false"
        )
    return rising


def _opened(path: Path) -> TextIO:
    file: TextIO = OPENERS.get(path.suffix.lower(), open)(path, "rt", encoding="utf-8-sig", newline="")
    return file


def _records(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the line that it begins on, cells) of each line that is not blank."""
    with _opened(path) as file:
        if len(separator) > 1:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield number, re.split(separator, text.strip())
            return
        reader, start = csv.reader(file, delimiter=separator, skipinitialspace=True), 1
        for cells in reader:
            if len(cells) > 1 or "".join(cells).strip():
                yield start, cells
            start = reader.line_num + 1
