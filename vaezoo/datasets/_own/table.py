"""Tables of text: columns of pixels, labels and contexts; the row and the column of a cell that is no number."""

from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.core.errors import VaezooError, nearest
from vaezoo.datasets._own.files import unreadable
from vaezoo.datasets._own.options import Column, OwnOptions
from vaezoo.datasets._own.parts import Array, Part


def chosen_columns(frame: Any, options: OwnOptions, source: str) -> tuple[Array | None, dict[str, Array]]:
    """The labels and the contexts among the columns of a table."""
    if isinstance(options.labels, tuple):
        raise VaezooError(f"labels must be one column of {source}, got a list of {len(options.labels)}")
    labels = None if options.labels is None else _values(frame[column_of(frame, options.labels, source)])
    return labels, {str(name): _values(frame[column_of(frame, name, source)]) for name in options.read_contexts}


def column_of(frame: Any, column: Column, source: str) -> Any:
    """The column of this name, or of this number. VaezooError, with near names, where there is none."""
    if column in frame.columns and not (isinstance(column, int) and column < 0):
        return column
    if isinstance(column, int) and -len(frame.columns) <= column < len(frame.columns):
        return frame.columns[column]
    raise VaezooError(f"{source} has no column {column!r}; {nearest(column, list(map(str, frame.columns)))}")


def _values(column: Any) -> Array:
    kind = getattr(column.dtype, "kind", "O")
    return np.asarray(column if kind in "biuf" else column.astype(object))


def read_table(path: Path, reader: str, header: bool | None, separator: str) -> Any:
    """A table of text as a frame; without a header its columns are numbers. header: None looks at the first line.

    reader: the name of the data set that reads it.
    """
    import pandas as pd

    how: dict[str, Any] = {"sep": separator, "skipinitialspace": True}
    try:
        if header is None:
            first = pd.read_csv(path, header=None, nrows=1, dtype=str, skip_blank_lines=True, **how)
            header = any(not _is_number(cell) for cell in first.iloc[0])
        return pd.read_csv(path, header=0 if header else None, **how)
    except (ValueError, OSError) as error:  # of pandas' parser too: ragged lines, an empty file, bytes that are no text
        raise unreadable(path, reader, "a table", str(error).removeprefix("Error tokenizing data. C error: ")) from None


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return not isinstance(cell, str)
    return True


def table_part(
    frame: Any, options: OwnOptions, path: Path, first_line: int, columns: tuple[Column, ...] | None = None
) -> Part:
    """The part of a table: its pixels are the given columns, else all but those of labels and context.

    first_line: the line of the file that holds the first row. Raises VaezooError for a text column among the pixels,
    and for an empty cell, with line and column.
    """
    labels, contexts = chosen_columns(frame, options, path.name)
    taken = options.read_contexts + ([] if options.labels is None else [options.labels])
    others = {column_of(frame, name, path.name) for name in taken if not isinstance(name, tuple)}
    if columns is None:
        pixels = [name for name in frame.columns if name not in others]
    else:
        pixels = [column_of(frame, name, path.name) for name in columns]
    if not pixels:
        raise VaezooError(f"{path.name} has no column of pixels beside {', '.join(map(str, taken))}")
    for name in pixels:
        _refuse_text(frame[name], name, path, first_line)
    x = frame[pixels].to_numpy()
    empty = np.argwhere(np.isnan(x.astype(float)))
    if len(empty):
        row, column = map(int, empty[0])
        raise VaezooError(
            f"{path.name}, line {first_line + row}: column {pixels[column]!r} is empty or NaN; fill it in or remove "
            f"the line ({len(empty)} such cells)"
        )
    return Part(np.ascontiguousarray(x), path.name, lambda row: f"line {first_line + row}", labels, contexts)


def _refuse_text(column: Any, name: Any, path: Path, first_line: int) -> None:
    if column.dtype.kind in "biuf":
        return
    texts = [(row, cell) for row, cell in enumerate(column) if not _is_number(cell)]
    row, cell = texts[0] if texts else (0, column.iloc[0])
    raise VaezooError(
        f"{path.name}, line {first_line + row}: column {name!r} holds the text {str(cell)[:30]!r}; pixels are numbers: "
        "mend it, make the column labels or context, or name the others with columns = [...]"
    )
