"""The plan as a results folder keeps it: enough to read the results without plugins and without the data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vaezoo.core.columns import DESCRIBING, Column
from vaezoo.runner.formats import opened, sealed
from vaezoo.runner.json_values import fitted, json_value
from vaezoo.runner.plan.cell import Cell, Comparability

LONGEST_NAME = 220
"""Bytes of a record's file name. A file system takes 255, and a temporary file's name is longer."""


def is_plain_name(name: str) -> bool:
    """Whether a text names a file inside a folder: no path, nothing that cannot be printed, not too long."""
    is_short = 0 < len(name.encode("utf-8", "replace")) <= LONGEST_NAME
    return is_short and name.isprintable() and not name.startswith(".") and not set(name) & set('/\\:*?"<>|')


@dataclass(frozen=True)
class StoredCell:
    """A cell of the stored plan. timing: the stem of its timing, or None; settings: those that differ between rows;
    search: of which sweep one row is chosen and reported, None for a row that is reported as it is.
    """

    stem: str
    key: str
    timing: str | None
    label: str
    variant: str
    dataset: str
    seed: int | None
    skip: str | None
    comparability: Comparability
    settings: dict[str, Any]
    search: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The cell as plan.json holds it; a search that is None is left out."""
        value = {**vars(self), "comparability": self.comparability.to_json()}
        return {name: each for name, each in value.items() if (name, each) != ("search", None)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StoredCell":
        """The cell of a plan.json. Raises ValueError for any other value."""
        return fitted(cls, value)


def first_seeds(cells: Iterable[Cell | StoredCell]) -> list[str]:
    """The stems of the cells whose models have pictures: the first seed of each row on each data set."""
    return list({(cell.label, cell.dataset): cell.stem for cell in reversed(list(cells))}.values())[::-1]


@dataclass(frozen=True)
class _Reference:
    """What a reference has besides its numbers."""

    label: str
    dataset: str
    source: str | None = None
    importance_samples: int | None = None
    row: str | None = None


@dataclass(frozen=True)
class StoredPlan:
    """What plan.json holds. settings: names of those that differ between rows; columns: those that the matrix's metrics
    declare (version 0.1.0 stored none); matrix: the matrix as it was written.
    """

    protocol: int
    name: str
    settings: tuple[str, ...]
    references: tuple[dict[str, Any], ...]
    columns: tuple[Column, ...]
    matrix: dict[str, Any]
    cells: tuple[StoredCell, ...]

    def to_json(self) -> dict[str, Any]:
        """The plan as plan.json holds it."""
        value = {**vars(self), "settings": list(self.settings), "references": list(self.references)}
        value["columns"] = [column.to_json() for column in self.columns]
        return value | {"cells": [cell.to_json() for cell in self.cells]}

    def file_content(self) -> dict[str, Any]:
        """What plan.json holds: the plan with format and digest. NaN and infinities become null."""
        return sealed(json_value(self.to_json()))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StoredPlan":
        """The plan of a plan.json, also of one that version 0.1.0 wrote.

        Raises ValueError, in one line, where the value is no plan, a newer vaezoo wrote it, it has been changed, or it
        names a file outside the results folder.
        """
        content, _ = opened(value)
        plan = fitted(cls, {"columns": [], **content})
        for stem in {stem for cell in plan.cells for stem in (cell.stem, cell.timing) if stem is not None}:
            if not is_plain_name(stem):
                raise ValueError(f"it names the record {stem[:60]!a}, which is no file name inside the folder")
        for reference in plan.references:
            known = vars(fitted(_Reference, reference))
            fitted(dict[str, float | None], {name: each for name, each in reference.items() if name not in known})
        for name in {*plan.settings, *(name for cell in plan.cells for name in cell.settings)}:
            if name in DESCRIBING:
                raise ValueError(f"its setting {name!r} has the name of another column")
        return plan
