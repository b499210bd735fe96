"""From a matrix to its cells: names resolved, combinations rehearsed, keys computed. Nothing is trained here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from vaezoo.builder import Ingredients, Rehearsals, measures_of, resolve
from vaezoo.core.columns import Column, declared_columns
from vaezoo.core.data import Dataset
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.options import checked_options
from vaezoo.core.precision import unsupported_precision
from vaezoo.datasets import load_dataset
from vaezoo.registry import Slots, register, registry
from vaezoo.runner.matrix.file import DatasetEntry, Matrix, MatrixRow, rows
from vaezoo.runner.plan.cell import Cell, Comparability, Task
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.plan.specification import PROTOCOL, DatasetChoice, EvaluationOptions, Specification
from vaezoo.runner.plan.stored import StoredCell, StoredPlan
from vaezoo.runner.provenance import run_facts
from vaezoo.runner.records import reason_of
from vaezoo.training.options import TrainingOptions

STANDARD_METRICS = ("likelihood", "active-units")
"""The metrics of every cell; a matrix adds further ones."""


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

    def stored(self) -> StoredPlan:
        """The plan as the results folder keeps it."""
        settings = self.settings
        cells = []
        for cell in self.cells:
            timing = self.timings.get(cell.stem)
            cells.append(
                StoredCell(
                    stem=cell.stem,
                    key=cell.key,
                    timing=timing.stem if timing else None,
                    label=cell.label,
                    variant=cell.variant,
                    dataset=cell.dataset,
                    seed=cell.seed,
                    skip=cell.skip,
                    comparability=cell.comparability,
                    settings={name: cell.settings.get(name) for name in settings},
                )
            )
        return StoredPlan(
            PROTOCOL,
            self.name,
            tuple(settings),
            tuple(self.references),
            tuple(_declared(self.cells)),
            self.matrix.dump(),
            tuple(cells),
        )

    def task(self, cell: Cell, folder: Path) -> Task:
        """What a child process needs to run one of the plan's cells into a results folder."""
        return Task(cell, folder, tuple(self.matrix.plugins), self.data_root, run=run_facts())


def make_plan(
    matrix: Matrix, *, data_root: str | None = None, device: str = "cpu", kind: str = "cpu", threads: int = 1
) -> Plan:
    """Resolve and rehearse every row on every data set. Raises VaezooError for invalid user input.

    device, threads: of the timing cells, whose speeds hold only there. kind: of the device, `cpu` or `cuda`, which
    decides the precisions that it supports.
    """
    for path in matrix.plugins:
        register.load_file(path, "a plugin's path is relative to the matrix file")
    cells: list[Cell] = []
    timings: dict[str, Cell] = {}
    planners = [
        _DatasetPlanner(entry, load_dataset(entry.name, data_root, options=entry.options), kind)
        for entry in matrix.datasets
    ]
    for row in rows(matrix):
        for planner in planners:
            made = planner.cells(row, matrix.seeds)
            cells += made
            if row.evaluate.throughput and made[0].skip is None:
                timings |= dict.fromkeys((cell.stem for cell in made), _timing(made[0], device, threads))
    _refuse_twins(cells)
    references = [reference.model_dump() for reference in matrix.references]
    return Plan(matrix.name, cells, timings, references, matrix, data_root)


@dataclass(frozen=True)
class _ResolvedModel:
    """What is the same in rows that differ only in how they train and evaluate.

    conditional: whether a part requests the images' context. code: the fingerprint of each plugin that takes part.
    """

    slots: Slots
    skip: str | None
    expected_failure: str | None
    conditional: bool
    metrics: tuple[tuple[str, dict[str, Any]], ...]
    code: dict[str, str]
    settings: dict[str, Any]


class _DatasetPlanner:
    """Plans the cells of one data set. What rows share is found once."""

    def __init__(self, entry: DatasetEntry, dataset: Dataset, kind: str):
        self.entry, self.dataset, self.kind = entry, dataset, kind
        self.rehearse = Rehearsals(dataset.train.rows(torch.arange(2) % len(dataset.train)))
        self.models: dict[str, _ResolvedModel] = {}

    def cells(self, row: MatrixRow, seeds: list[int]) -> list[Cell]:
        """A cell for each seed."""
        asked = repr(
            (row.variant, row.slots, row.latent, row.hidden, row.allow_pseudo_likelihood, row.evaluate.metrics)
        )
        if asked not in self.models:
            self.models[asked] = self._resolved(row)
        model, train = self.models[asked], row.train
        comparability = self._comparability(row, model, train)
        settings = {
            **model.settings,
            **{f"train.{name}": value for name, value in train.to_json().items()},
            **{f"evaluate.{name}": value for name, value in row.evaluate.model_dump(exclude={"metrics"}).items()},
        }
        skip = model.skip or unsupported_precision(train.precision, self.kind)
        return [
            Cell(
                label=row.label,
                variant=row.variant,
                dataset=self.entry.label,
                seed=specification.seed,
                key=key,
                specification=specification,
                comparability=comparability,
                settings=settings,
                skip=skip,
                expected_failure=model.expected_failure,
            )
            for key, specification in self._specification(row, model, train).with_seeds(seeds)
        ]

    def _specification(self, row: MatrixRow, model: _ResolvedModel, train: TrainingOptions) -> Specification:
        return Specification(
            protocol=PROTOCOL,
            variant=row.variant,
            slots=model.slots,
            latent=row.latent if isinstance(row.latent, int) else tuple(row.latent),
            hidden=tuple(row.hidden),
            allow_pseudo_likelihood=row.allow_pseudo_likelihood,
            dataset=DatasetChoice(
                self.entry.name, self.entry.options, self.dataset.checksum, self._context_checksum(model)
            ),
            code=model.code,
            train=train,
            metrics=model.metrics,
            evaluate=EvaluationOptions(row.evaluate.importance_samples, row.evaluate.images),
        )

    def _comparability(self, row: MatrixRow, model: _ResolvedModel, train: TrainingOptions) -> Comparability:
        spec, available = self.dataset.spec, len(self.dataset.test)
        return Comparability(
            measure=spec.measure,
            binarisation=spec.binarisation,
            checksum=self.dataset.checksum,
            split="test",
            estimator="iwll",
            conditional=model.conditional,
            context_checksum=self._context_checksum(model),
            pseudo_likelihood=bool(model.slots) and _is_pseudo(model.slots, spec.measure),
            images=min(row.evaluate.images or available, available),
            importance_samples=row.evaluate.importance_samples,
            precision=train.precision,
        )

    def _context_checksum(self, model: _ResolvedModel) -> str | None:
        return self.dataset.context_checksum if model.conditional else None

    def _resolved(self, row: MatrixRow) -> _ResolvedModel:
        slots, skip, failure, conditional = self._rehearsed(row)
        metrics = _metrics(row)
        code = _code(slots, [name for name, _ in metrics])
        return _ResolvedModel(slots, skip, failure, conditional, metrics, code, _settings(row, slots))

    def _rehearsed(self, row: MatrixRow) -> tuple[Slots, str | None, str | None, bool]:
        """The row's slots, why it is skipped, what its rehearsal raised, and whether its model is conditional."""
        slots: Slots = {}
        conditional = False
        try:
            slots = resolve(row.variant, self.dataset.spec, row.slots)
            ingredients = Ingredients.of(self.dataset, row.latent, row.hidden)
            outcome = self.rehearse(slots, ingredients, allow_pseudo_likelihood=row.allow_pseudo_likelihood)
            error, conditional = outcome.error, outcome.conditional
        except VaezooError as invalid:
            error = invalid
        if isinstance(error, Skip):
            return slots, str(error), None, False
        if isinstance(error, VaezooError):
            raise VaezooError(f"row {row.label!r}: {error}") from error
        return slots, None, None if error is None else reason_of(error), conditional


def _is_pseudo(slots: Slots, measure: str) -> bool:
    return measure not in measures_of(registry("likelihood")[slots["likelihood"][0]])


def _metrics(row: MatrixRow) -> tuple[tuple[str, dict[str, Any]], ...]:
    asked: list[tuple[str, Mapping[str, Any]]] = [(name, {}) for name in STANDARD_METRICS]
    asked += [(entry.name, entry.options) for entry in row.evaluate.metrics]
    return tuple((name, checked_options(registry("metric")[name], values)) for name, values in asked)


def _declared(cells: list[Cell]) -> list[Column]:
    """The columns that the cells' metrics declare. VaezooError where two metrics declare the same one."""
    names = dict.fromkeys(name for cell in cells for name, _ in cell.specification.metrics or ())
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
    latent = row.latent if isinstance(row.latent, int) else str(list(row.latent))
    return flat | {"model.latent": latent, "model.hidden": str(list(row.hidden))}


def _timing(cell: Cell, device: str, threads: int) -> Cell:
    """The cell that times the model of this one."""
    specification = cell.specification.timed_on(device, threads)
    return replace(cell, seed=None, key=specification.key, specification=specification)


def _refuse_twins(cells: list[Cell]) -> None:
    seen: dict[tuple[str, Any], Cell] = {}
    for cell in cells:
        first = seen.setdefault((cell.key, cell.skip), cell)
        if first.label != cell.label and cell.skip is None:
            raise VaezooError(
                f"rows {first.label!r} and {cell.label!r} are the same cell on {cell.dataset}; remove one of them"
            )
