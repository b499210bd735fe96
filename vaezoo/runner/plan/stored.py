"""The plan as a results folder keeps it: enough to read the results without plugins and without the data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaezoo.core.columns import Column
from vaezoo.runner.json_values import known_fields
from vaezoo.runner.plan.cell import Comparability


@dataclass(frozen=True)
class StoredCell:
    """A cell of the stored plan. timing: the stem of its timing, or None; settings: those that differ between rows."""

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

    def to_json(self) -> dict[str, Any]:
        """The cell as plan.json holds it."""
        return {**vars(self), "comparability": self.comparability.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StoredCell":
        """The cell of a plan.json."""
        return cls(**{**known_fields(cls, value), "comparability": Comparability.from_json(value["comparability"])})


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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StoredPlan":
        """The plan of a plan.json. Raises KeyError, TypeError, ValueError or AttributeError for any other value."""
        typed: dict[str, Any] = {
            "settings": tuple(value["settings"]),
            "references": tuple(value["references"]),
            "columns": tuple(Column.from_json(column) for column in value.get("columns", ())),
            "cells": tuple(StoredCell.from_json(cell) for cell in value["cells"]),
        }
        plan = cls(**{**known_fields(cls, value), **typed})
        texts = (plan.name, *plan.settings)
        tables = (plan.matrix, *plan.references, *(cell.settings for cell in plan.cells))
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(table, dict) for table in tables):
            raise TypeError(
                "expected texts for the name and the settings, and a dict for the matrix and each reference"
            )
        return plan
