"""From a matrix to its cells: names resolved, combinations rehearsed, keys computed. Nothing is trained here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from vaezoo.builder import Ingredients, Rehearsals, Slots, resolve
from vaezoo.core.columns import Column, declared_columns
from vaezoo.core.data import Dataset
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.options import checked_options
from vaezoo.core.precision import unsupported_precision
from vaezoo.datasets import load_dataset
from vaezoo.registry import register, registry
from vaezoo.runner.matrix.file import DatasetEntry, Matrix, MatrixRow, rows
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.plan.keys import key_of, with_seeds
from vaezoo.runner.store import PROTOCOL

MEASURES = ("likelihood", "active-units")
"""The metrics of every cell; a matrix adds further ones."""


@dataclass(frozen=True)
class Cell:
    """variant x dataset x seed, or (seed None) the timing of variant x dataset on this device.

    specification: everything its result depends on; key: its sha256. skip: why it cannot be, or None. settings: the
    row's settings, for the columns in which rows differ.
    """

    label: str
    variant: str
    dataset: str
    seed: int | None
    key: str
    specification: dict[str, Any] = field(repr=False)
    comparability: dict[str, Any] = field(repr=False)
    settings: dict[str, Any] = field(repr=False)
    skip: str | None = None

    @cached_property
    def stem(self) -> str:
        """The record's file name: readable, and unique by the key's first 12 digits."""
        words = [self.variant, self.dataset, "timing" if self.seed is None else f"s{self.seed}"]
        return re.sub(r"[^A-Za-z0-9.=-]+", "_", "--".join(words))[:100] + f"--{self.key[:12]}"


@dataclass(frozen=True)
class Plan:
    """A matrix's cells in its order, and the timing cell of each, by the cell's stem."""

    name: str
    cells: list[Cell]
    timings: dict[str, Cell]
    references: list[dict[str, Any]]
    matrix: Matrix
    data_root: str | None = None

    @property
    def settings(self) -> list[str]:
        """Names of the settings that differ between rows; `evaluate.images` also where all rows use the same subset."""
        every = list({id(cell.settings): cell.settings for cell in self.cells}.values())  # the seeds share theirs
        names = dict.fromkeys(name for each in every for name in each)
        differing = [n for n in names if len({repr(each.get(n)) for each in every}) > 1]
        subset = any(s.get("evaluate.images") is not None for s in every)
        return list(dict.fromkeys([*differing, *["evaluate.images"] * subset]))

    def stored(self) -> dict[str, Any]:
        """What the results folder keeps, for reading without plugins and without the data."""
        settings = self.settings
        cells = []
        for cell in self.cells:
            timing = self.timings.get(cell.stem)
            cells.append(
                {
                    "stem": cell.stem,
                    "key": cell.key,
                    "timing": timing.stem if timing else None,
                    "label": cell.label,
                    "variant": cell.variant,
                    "dataset": cell.dataset,
                    "seed": cell.seed,
                    "skip": cell.skip,
                    "comparability": cell.comparability,
                    "settings": {name: cell.settings.get(name) for name in settings},
                }
            )
        return {
            "protocol": PROTOCOL,
            "name": self.name,
            "settings": settings,
            "references": self.references,
            "columns": [column.to_json() for column in _declared(self.cells)],
            "matrix": self.matrix.dump(),
            "cells": cells,
        }


def make_plan(
    matrix: Matrix, *, data_root: str | None = None, device: str = "cpu", kind: str = "cpu", threads: int = 1
) -> Plan:
    """Resolve and rehearse every row on every dataset. Raises VaezooError where the question is wrong.

    device, threads: of the timing cells, whose speeds hold only there. kind: the device's, `cpu` or `cuda`, for what it
    cannot do.
    """
    for path in matrix.plugins:
        register.load_file(path)
    cells: list[Cell] = []
    timings: dict[str, Cell] = {}
    plannings = [
        _Planning(entry, load_dataset(entry.name, data_root, options=entry.options), kind) for entry in matrix.datasets
    ]
    for row in rows(matrix):
        for planning in plannings:
            made = planning.cells(row, matrix.seeds)
            cells += made
            if row.evaluate.throughput and made[0].skip is None:
                timings |= dict.fromkeys((cell.stem for cell in made), _timing(made[0], device, threads))
    _refuse_twins(cells)
    references = [reference.model_dump() for reference in matrix.references]
    return Plan(matrix.name, cells, timings, references, matrix, data_root)


@dataclass(frozen=True)
class _Shared:
    """What rows share that differ only in how they train and evaluate: why they cannot be, or None, and the part of
    their specification, comparability and settings.
    """

    skip: str | None
    specification: dict[str, Any]
    comparability: dict[str, Any]
    settings: dict[str, Any]


class _Planning:
    """The cells of one dataset, where what rows share is found once."""

    def __init__(self, entry: DatasetEntry, dataset: Dataset, kind: str):
        self.entry, self.dataset, self.label, self.kind = entry, dataset, entry.label, kind
        self.rehearse = Rehearsals()
        self.shared: dict[str, _Shared] = {}

    def cells(self, row: MatrixRow, seeds: list[int]) -> list[Cell]:
        """A cell for each seed."""
        asked = repr(
            (row.variant, row.slots, row.latent, row.hidden, row.allow_pseudo_likelihood, row.evaluate.metrics)
        )
        if asked not in self.shared:
            self.shared[asked] = self._resolved(row)
        shared, train, evaluate = self.shared[asked], row.train.to_json(), row.evaluate
        specification = {
            **shared.specification,
            "train": {name: value for name, value in train.items() if value is not None and value is not False},
            "evaluate": {"importance_samples": evaluate.importance_samples, "images": evaluate.images},
        }
        available = len(self.dataset.test)
        comparability = {
            **shared.comparability,
            "images": min(evaluate.images or available, available),
            "importance_samples": evaluate.importance_samples,
            "precision": row.train.precision,
        }
        settings = {
            **shared.settings,
            **{f"train.{name}": value for name, value in train.items()},
            **{f"evaluate.{name}": value for name, value in evaluate.model_dump(exclude={"metrics"}).items()},
        }
        skip = shared.skip or unsupported_precision(row.train.precision, self.kind)
        return [
            Cell(row.label, row.variant, self.label, seed, key, full, comparability, settings, skip)
            for seed, key, full in with_seeds(specification, seeds)
        ]

    def _resolved(self, row: MatrixRow) -> _Shared:
        slots, skip = self._rehearsed(row)
        metrics, spec = _metrics(row), self.dataset.spec
        specification = {
            "protocol": PROTOCOL,
            "variant": row.variant,
            "slots": {slot: [name, values] for slot, (name, values) in slots.items()},
            "latent": row.latent,
            "hidden": row.hidden,
            "allow_pseudo_likelihood": row.allow_pseudo_likelihood,
            "dataset": {"name": self.entry.name, "options": self.entry.options, "checksum": self.dataset.checksum},
            "metrics": metrics,
            "code": _code(slots, [name for name, _ in metrics]),
        }
        comparability = {
            "measure": spec.measure,
            "binarisation": spec.binarisation,
            "checksum": self.dataset.checksum,
            "split": "test",
            "estimator": "iwll",
            "conditional": spec.context is not None,
            "pseudo_likelihood": bool(slots) and _is_pseudo(slots, spec.measure),
        }
        return _Shared(skip, specification, comparability, _settings(row, slots))

    def _rehearsed(self, row: MatrixRow) -> tuple[Slots, str | None]:
        slots: Slots = {}
        try:
            slots = resolve(row.variant, self.dataset.spec, row.slots)
            ingredients = Ingredients.of(self.dataset, row.latent, row.hidden)
            self.rehearse(slots, ingredients, allow_pseudo_likelihood=row.allow_pseudo_likelihood)
        except Skip as reason:
            return slots, str(reason)
        except VaezooError as error:
            raise VaezooError(f"row {row.label!r}: {error}") from error
        return slots, None


def _is_pseudo(slots: Slots, measure: str) -> bool:
    return measure not in registry("likelihood")[slots["likelihood"][0]].target.measures


def _metrics(row: MatrixRow) -> list[list[Any]]:
    asked: list[tuple[str, Mapping[str, Any]]] = [(name, {}) for name in MEASURES]
    asked += [(entry.name, entry.options) for entry in row.evaluate.metrics]
    return [[name, checked_options(registry("metric")[name], values)] for name, values in asked]


def _declared(cells: list[Cell]) -> list[Column]:
    """The columns that the cells' metrics declare. VaezooError where two metrics declare the same one."""
    names = dict.fromkeys(name for cell in cells for name, _ in cell.specification["metrics"])
    return declared_columns({name: registry("metric")[name].columns for name in names})


def _code(slots: Slots, metrics: list[str]) -> dict[str, str]:
    named = [(slot, name) for slot, (name, _) in slots.items()] + [("metric", name) for name in metrics]
    return {f"{slot}/{name}": _fingerprint(slot, name) for slot, name in named}


@lru_cache(maxsize=1024)
def _fingerprint(slot: str, name: str) -> str:
    return fingerprint(registry(slot)[name])


def _settings(row: MatrixRow, slots: Slots) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for slot, (name, values) in slots.items():
        flat[slot] = name
        flat |= {f"{slot}.{key}": value for key, value in values.items()}
    return flat | {"model.latent": row.latent, "model.hidden": str(list(row.hidden))}


def _timing(cell: Cell, device: str, threads: int) -> Cell:
    """What the speeds of a cell depend on, its seed and the length of its training not among it."""
    kept = ("protocol", "slots", "latent", "hidden", "allow_pseudo_likelihood", "dataset", "code", "variant")
    specification = {name: cell.specification[name] for name in kept}
    train = cell.specification["train"]
    specification["train"] = {
        name: train[name] for name in ("batch_size", "gradient_clip", "precision", "compile") if name in train
    }
    specification |= {"device": device, "threads": threads}
    code = {name: value for name, value in cell.specification["code"].items() if not name.startswith("metric/")}
    specification["code"] = code
    return replace(cell, seed=None, key=key_of(specification), specification=specification)


def _refuse_twins(cells: list[Cell]) -> None:
    seen: dict[tuple[str, Any], Cell] = {}
    for cell in cells:
        first = seen.setdefault((cell.key, cell.skip), cell)
        if first.label != cell.label and cell.skip is None:
            raise VaezooError(
                f"rows {first.label!r} and {cell.label!r} are the same cell on {cell.dataset}; remove one of them"
            )


def as_task(cell: Cell, plan: Plan, folder: Path) -> dict[str, Any]:
    """What a child process needs to run a cell, in plain values."""
    return {
        **{each.name: getattr(cell, each.name) for each in fields(cell)},
        "stem": cell.stem,
        "folder": str(folder),
        "plugins": [str(path) for path in plan.matrix.plugins],
        "data_root": plan.data_root,
    }
