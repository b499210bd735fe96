"""Pixels, labels and contexts among the columns of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaezoo.core.errors import VaezooError, nearest
from vaezoo.datasets._own.options import Column, OwnOptions
from vaezoo.datasets._own.parts import Array, Part, Parts
from vaezoo.datasets._own.text import Table


def chosen_columns(frame: Any, options: OwnOptions, source: str) -> tuple[Array | None, dict[str, Array]]:
    """The labels and the contexts among the columns of a table."""
    if isinstance(options.labels, tuple):
        raise VaezooError(f"labels must be one column of {source}, got a list of {len(options.labels)}")
    given = options.given_labels
    labels = None if given is None else _values(frame[column_of(frame, given, source)])
    return labels, {str(name): _values(frame[column_of(frame, name, source)]) for name in options.read_contexts}


def column_of(frame: Any, column: Any, source: str) -> Any:
    """The column of this name, or of this number. VaezooError, with near names, where there is none."""
    if column in frame.columns and not (isinstance(column, int) and column < 0):
        return column
    if isinstance(column, int) and -len(frame.columns) <= column < len(frame.columns):
        return frame.columns[column]
    raise VaezooError(f"{source} has no column {column!r}; {nearest(column, list(map(str, frame.columns)))}")


def _values(column: Any) -> Array:
    kind = getattr(column.dtype, "kind", "O")
    return np.asarray(column if kind in "biuf" else column.astype(object))


@dataclass(frozen=True)
class Columns:
    """The columns of a file of training rows, by which every other file is read. every: all that it has."""

    pixels: Sequence[Any]
    every: Sequence[Any]
    remarks: tuple[str, ...] = ()


def table_parts(tables: dict[str, Table], options: OwnOptions, columns: tuple[Column, ...] | None = None) -> Parts:
    """The parts of tables: their pixels are the given columns of the training file, else all but those of labels and
    context. Further files are read by the names of these columns, in whatever order they have them.

    Raises VaezooError for a file that lacks a column or has another, for a text column among the pixels, and for an
    empty cell, with line and column.
    """
    first = tables["train"]
    found = _columns(first, options, columns)
    parts: Parts = {}
    for split, table in tables.items():
        if table is not first:
            _refuse_others(table, first, found, columns is None)
        parts[split] = _part(table, options, found.pixels, found.remarks if table is first else ())
    return parts


def _columns(table: Table, options: OwnOptions, columns: tuple[Column, ...] | None) -> Columns:
    frame, name = table.frame, table.path.name
    given = options.given_labels
    taken = options.read_contexts + ([] if given is None else [given])
    others = {column_of(frame, each, name) for each in taken if not isinstance(each, tuple)}
    remarks: tuple[str, ...] = ()
    if columns is None:
        pixels = [each for each in frame.columns if each not in others]
        if table.nameless and frame.columns[0] in pixels and len(pixels) > 1:
            pixels.remove(frame.columns[0])
            remarks = (
                f"{name}: the first column has no name, and is left out as the names of rows that pandas and R write; "
                "to keep it, give it a name",
            )
    else:
        pixels = [column_of(frame, each, name) for each in columns]
        if len(set(pixels)) < len(pixels):
            twice = next(each for each in pixels if pixels.count(each) > 1)
            raise VaezooError(f"{name}: columns names {twice!r} twice; remove one")
    if not pixels:
        raise VaezooError(f"{name} has no column of pixels beside {', '.join(map(str, taken)) or 'none'}")
    return Columns(pixels, list(frame.columns), remarks)


def _refuse_others(table: Table, first: Table, found: Columns, whole: bool) -> None:
    """Raise VaezooError where a further file's columns are not those of the first. whole: whether it has no more."""
    name, other = table.path.name, first.path.name
    if table.named != first.named:
        has, lacks = (name, other) if table.named else (other, name)
        raise VaezooError(f"{has} has a line of names and {lacks} has none; give both one, or none")
    own = list(table.frame.columns)
    if not table.named:
        if len(own) != len(found.every):
            raise VaezooError(f"{name} has {len(own)} columns, {other} {len(found.every)}; make them equal")
        return
    lacking = [each for each in found.pixels if each not in own]
    more = [each for each in own[table.nameless :] if each not in found.every] if whole else []
    said = [f"{other} alone has {_listed(lacking)}"] * bool(lacking) + [f"{name} alone has {_listed(more)}"] * bool(
        more
    )
    if said:
        raise VaezooError(f"columns differ: {' and '.join(said)}; give both files the same names")


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _part(table: Table, options: OwnOptions, pixels: Sequence[Any], remarks: tuple[str, ...]) -> Part:
    name = table.path.name
    labels, contexts = chosen_columns(table.frame, options, name)
    frame = table.frame[list(pixels)].copy()
    for each in [each for each, dtype in frame.dtypes.items() if dtype.kind not in "biuf"]:
        frame[each] = _numbers(frame[each], each, table)
    x = frame.to_numpy()
    if x.dtype.kind == "O":  # such as True beside numbers
        x = x.astype(np.float64)
    if x.dtype.kind == "f" and len(empty := np.argwhere(np.isnan(x))):
        row, column = map(int, empty[0])
        raise VaezooError(
            f"{name}, {table.place(row)}: column {pixels[column]!r} is empty or NaN; fill it in or remove the line "
            f"({len(empty)} such cells)"
        )
    return Part(np.ascontiguousarray(x), name, table.place, labels, contexts, remarks)


def _numbers(column: Any, name: Any, table: Table) -> Any:
    """A column that pandas does not read as numbers, as such. VaezooError, with line and cell, where one is a text."""
    import pandas as pd

    found = pd.to_numeric(column, errors="coerce")
    wrong = np.flatnonzero(np.asarray(found.isna() & column.notna()))
    if len(wrong) == 0:
        return found
    cell = str(column.iloc[int(wrong[0])])
    spaced = " between spaces: say separator = ' '" if len(cell.split()) > 1 and len(table.frame.columns) == 1 else ""
    raise VaezooError(
        f"{table.path.name}, {table.place(int(wrong[0]))}: column {name!r} holds the text {cell[:30]!r}{spaced}; "
        "pixels are numbers: mend it, make the column labels or context, or name the others with columns = [...]"
    )
