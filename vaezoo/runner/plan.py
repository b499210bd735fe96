"""From a matrix to its cells: names resolved, combinations rehearsed, keys computed. Nothing is trained here."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from vaezoo.builder import Ingredients, Slots, rehearse, resolve
from vaezoo.core.data import Dataset
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.options import checked_options
from vaezoo.datasets import load_dataset
from vaezoo.registry import register, registry
from vaezoo.runner.fingerprint import fingerprint
from vaezoo.runner.matrix import DatasetEntry, Matrix, Row, rows
from vaezoo.runner.store import PROTOCOL

MEASURES = ("likelihood", "active-units")
"""The metrics of every cell; a matrix adds further ones."""


@dataclass(frozen=True)
class Cell:
    """variant x dataset x seed, or (seed None) the timing of variant x dataset on this device.

    specification: everything its result depends on; its sha256 is the key. skip: why it cannot be, or None. settings:
    the row's settings, for the columns in which rows differ.
    """

    label: str
    variant: str
    dataset: str
    seed: int | None
    specification: dict[str, Any] = field(repr=False)
    comparability: dict[str, Any] = field(repr=False)
    settings: dict[str, Any] = field(repr=False)
    skip: str | None = None

    @cached_property
    def key(self) -> str:
        """sha256 of the specification."""
        text = json.dumps(self.specification, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

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
        names = dict.fromkeys(name for cell in self.cells for name in cell.settings)
        every = [cell.settings for cell in self.cells]
        differing = [n for n in names if len({json.dumps(s.get(n), default=str) for s in every}) > 1]
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
            "matrix": self.matrix.dump(),
            "cells": cells,
        }


def make_plan(matrix: Matrix, *, data_root: str | None = None, device: str = "cpu", threads: int = 1) -> Plan:
    """Resolve and rehearse every row on every dataset. Raises VaezooError where the question is wrong.

    device, threads: of the timing cells, whose speeds hold only there.
    """
    for path in matrix.plugins:
        register.load_file(path)
    cells: list[Cell] = []
    timings: dict[str, Cell] = {}
    loaded = [(entry, load_dataset(entry.name, data_root, options=entry.options)) for entry in matrix.datasets]
    for row in rows(matrix):
        for entry, dataset in loaded:
            made = _row_cells(matrix, row, entry, dataset)
            cells += made
            if row.evaluate.throughput:
                timing = _timing(made[0], device, threads)
                timings |= {cell.stem: timing for cell in made if cell.skip is None}
    _refuse_twins(cells)
    references = [reference.model_dump() for reference in matrix.references]
    return Plan(matrix.name, cells, timings, references, matrix, data_root)


def _row_cells(matrix: Matrix, row: Row, entry: DatasetEntry, dataset: Dataset) -> list[Cell]:
    spec, skip = dataset.spec, None
    slots: Slots = {}
    metrics = _metrics(row)
    try:
        slots = resolve(row.variant, spec, row.slots)
        ingredients = Ingredients.blank(spec, row.latent, row.hidden, len(dataset.train))
        rehearse(slots, ingredients, allow_pseudo_likelihood=row.allow_pseudo_likelihood)
    except Skip as reason:
        skip = str(reason)
    except VaezooError as error:
        raise VaezooError(f"row {row.label!r}: {error}") from error
    specification = {
        "protocol": PROTOCOL,
        "variant": row.variant,
        "slots": {slot: [name, values] for slot, (name, values) in slots.items()},
        "latent": row.latent,
        "hidden": list(row.hidden),
        "allow_pseudo_likelihood": row.allow_pseudo_likelihood,
        "dataset": {"name": entry.name, "options": entry.options, "checksum": dataset.checksum},
        "train": {name: value for name, value in row.train.model_dump().items() if value is not None},
        "evaluate": {"importance_samples": row.evaluate.importance_samples, "images": row.evaluate.images},
        "metrics": metrics,
        "code": _code(slots, [name for name, _ in metrics]),
    }
    images = min(row.evaluate.images or len(dataset.test), len(dataset.test))
    comparability = {
        "measure": spec.measure,
        "binarisation": spec.binarisation,
        "checksum": dataset.checksum,
        "split": "test",
        "images": images,
        "estimator": "iwll",
        "importance_samples": row.evaluate.importance_samples,
        "conditional": spec.context is not None,
        "precision": row.train.precision,
        "pseudo_likelihood": bool(slots) and _is_pseudo(slots, spec.measure),
    }
    settings = _settings(row, slots)
    return [
        Cell(row.label, row.variant, entry.label, seed, {**specification, "seed": seed}, comparability, settings, skip)
        for seed in matrix.seeds
    ]


def _is_pseudo(slots: Slots, measure: str) -> bool:
    return measure not in registry("likelihood")[slots["likelihood"][0]].target.measures


def _metrics(row: Row) -> list[list[Any]]:
    asked: list[tuple[str, Mapping[str, Any]]] = [(name, {}) for name in MEASURES]
    asked += [(entry.name, entry.options) for entry in row.evaluate.metrics]
    return [[name, checked_options(registry("metric")[name], values)] for name, values in asked]


def _code(slots: Slots, metrics: list[str]) -> dict[str, str]:
    named = [(slot, name) for slot, (name, _) in slots.items()] + [("metric", name) for name in metrics]
    return {f"{slot}/{name}": _fingerprint(slot, name) for slot, name in named}


@lru_cache(maxsize=1024)
def _fingerprint(slot: str, name: str) -> str:
    return fingerprint(registry(slot)[name])


def _settings(row: Row, slots: Slots) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for slot, (name, values) in slots.items():
        flat[slot] = name
        flat |= {f"{slot}.{key}": value for key, value in values.items()}
    flat |= {"model.latent": row.latent, "model.hidden": str(list(row.hidden))}
    flat |= {f"train.{key}": value for key, value in row.train.model_dump().items()}
    return flat | {f"evaluate.{key}": value for key, value in row.evaluate.model_dump().items() if key != "metrics"}


def _timing(cell: Cell, device: str, threads: int) -> Cell:
    """What the speeds of a cell depend on, its seed and the length of its training not among it."""
    kept = ("protocol", "slots", "latent", "hidden", "allow_pseudo_likelihood", "dataset", "code", "variant")
    specification = {name: cell.specification[name] for name in kept}
    train = cell.specification["train"]
    specification["train"] = {
        name: train[name] for name in ("batch_size", "gradient_clip", "precision") if name in train
    }
    specification |= {"device": device, "threads": threads}
    code = {name: value for name, value in cell.specification["code"].items() if not name.startswith("metric/")}
    return Cell(
        cell.label, cell.variant, cell.dataset, None, {**specification, "code": code}, cell.comparability, cell.settings
    )


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
        **asdict(cell),
        "key": cell.key,
        "stem": cell.stem,
        "folder": str(folder),
        "plugins": [str(path) for path in plan.matrix.plugins],
        "data_root": plan.data_root,
    }
