"""From a matrix to its cells: names resolved, combinations rehearsed, keys computed. Nothing is trained here."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch

from vaezoo.builder import Ingredients, Rehearsals, measures_of, resolve
from vaezoo.core.columns import Column, declared_columns
from vaezoo.core.data import Dataset
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.library import not_a_library
from vaezoo.core.options import checked_options
from vaezoo.core.precision import unsupported_precision
from vaezoo.datasets import load_dataset
from vaezoo.registry import Slots, registry
from vaezoo.runner.matrix.file import DatasetEntry, Matrix, MatrixRow, rows
from vaezoo.runner.plan.cell import Cell, Comparability, Task
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.plan.sizes import FLOAT, Room, Sizes, may_be_large, sizes_of
from vaezoo.runner.plan.sources import Sources, sources_of
from vaezoo.runner.plan.specification import PROTOCOL, DatasetChoice, EvaluationOptions, Specification
from vaezoo.runner.plan.stored import StoredCell, StoredPlan, first_seeds
from vaezoo.runner.provenance import run_facts
from vaezoo.runner.records import reason_of
from vaezoo.training.options import TrainingOptions

REHEARSED = 2
"""Images of a rehearsal."""
STANDARD_METRICS = ("likelihood", "active-units")
"""The metrics of every cell; a matrix adds further ones."""


@dataclass(frozen=True)
class PlannedRow:
    """A row of the matrix on one of its data sets: a cell for each seed, and their timing.

    row, dataset: their numbers in the matrix. data_sources: of the data set alone, None where it is not known. columns:
    of each metric of the cells, those that it declares. train_images: how many the data set has, where it is known.
    """

    row: int
    dataset: int
    cells: tuple[Cell, ...]
    timing: Cell | None
    sources: Sources
    data_sources: Sources | None
    columns: dict[str, tuple[Column, ...]]
    train_images: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The planned row, for a message from the child that planned it."""
        return {
            "row": self.row,
            "dataset": self.dataset,
            "cells": [cell.to_json() for cell in self.cells],
            "timing": self.timing and self.timing.to_json(),
            "sources": vars(self.sources),
            "data_sources": self.data_sources and vars(self.data_sources),
            "columns": {name: [column.to_json() for column in columns] for name, columns in self.columns.items()},
            "train_images": self.train_images,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "PlannedRow":
        """The planned row that `to_json` wrote."""
        sources, data = Sources.from_json(value["sources"]), value["data_sources"]
        columns = {name: tuple(map(Column.from_json, found)) for name, found in value["columns"].items()}
        timing = value["timing"] and Cell.from_json(value["timing"])
        cells = tuple(map(Cell.from_json, value["cells"]))
        data_sources, images = None if data is None else Sources.from_json(data), value["train_images"]
        return cls(value["row"], value["dataset"], cells, timing, sources, data_sources, columns, images)


@dataclass(frozen=True)
class Plan:
    """A matrix's cells in its order, the timing cell of each, and the sources of its plugins, by the cell's stem.

    data_sources: those of each data set, by its label; train_images: how many it has. columns: those that the cells'
    metrics declare.
    """

    name: str
    cells: list[Cell]
    timings: dict[str, Cell]
    references: list[dict[str, Any]]
    matrix: Matrix
    data_root: str | None = None
    sources: dict[str, Sources] = field(default_factory=dict)
    data_sources: dict[str, Sources] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    train_images: dict[str, int] = field(default_factory=dict)

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
                    search=cell.search,
                )
            )
        return StoredPlan(
            PROTOCOL,
            self.name,
            tuple(settings),
            tuple(self.references),
            self.columns,
            self.matrix.dump(),
            tuple(cells),
        )

    def task(self, cell: Cell, folder: Path) -> Task:
        """What a child process needs to run one of the plan's cells into a results folder."""
        sources = self.sources.get(cell.stem, Sources())
        return Task(
            cell,
            folder.absolute(),
            tuple(map(Path, sources.files)),
            sources.packages,
            self.data_root,
            pictures=cell.stem in self._first_seeds,
            run=run_facts(),
        )

    @cached_property
    def _first_seeds(self) -> frozenset[str]:
        return frozenset(first_seeds(self.cells))


def make_plan(
    matrix: Matrix, *, data_root: str | None = None, device: str = "cpu", kind: str = "cpu", threads: int = 1
) -> Plan:
    """Resolve and rehearse every row on every data set, in this process. Raises VaezooError for invalid user input.

    device, threads: of the timing cells, whose speeds hold only there. kind: of the device, `cpu` or `cuda`, which
    decides the precisions that it supports.
    """
    Sources(tuple(map(str, matrix.plugins))).load()
    machine = Machine(device, kind, threads)
    return assembled(matrix, planned_rows(matrix, units(matrix), machine, data_root), data_root)


Unit = tuple[int, int]
"""The number of a row of the matrix, and of one of its data sets."""


@dataclass(frozen=True)
class Machine:
    """The machine of a plan: its device, the device's kind (`cpu` or `cuda`), the threads of a timing, the device's
    memory and what a cell may use of it, in bytes; None where rows are not to be refused for it.
    """

    device: str = "cpu"
    kind: str = "cpu"
    threads: int = 1
    memory: int | None = None
    max_memory: int | None = None


def units(matrix: Matrix) -> list[Unit]:
    """Every row on each of its data sets, in the order of the matrix."""
    labels = [entry.label for entry in matrix.datasets]
    return [
        (row, number)
        for row, found in enumerate(rows(matrix))
        for number, label in enumerate(labels)
        if found.datasets is None or label in found.datasets
    ]


def planned_rows(
    matrix: Matrix, wanted: Sequence[Unit], machine: Machine, data_root: str | None = None, rehearse: bool = True
) -> Iterator[PlannedRow]:
    """Plan these rows in this process, whose registry holds their plugins. rehearse: whether models are built."""
    planners: dict[int, _DatasetPlanner] = {}
    every = rows(matrix)
    for row, number in wanted:
        entry = matrix.datasets[number]
        if number not in planners:
            dataset = load_dataset(entry.name, data_root, options=entry.options)
            planners[number] = _DatasetPlanner(entry, dataset, machine, rehearse)
        yield planners[number].planned(row, number, every[row], matrix.seeds)


def assembled(matrix: Matrix, found: Iterable[PlannedRow], data_root: str | None = None) -> Plan:
    """The plan of all planned rows, in any order. VaezooError where two rows are the same cell, or two metrics declare
    the same column.
    """
    ordered = sorted(found, key=lambda each: (each.row, each.dataset))
    cells = [cell for each in ordered for cell in each.cells]
    _refuse_twins(cells)
    timings = {cell.stem: each.timing for each in ordered if each.timing is not None for cell in each.cells}
    sources = {cell.stem: each.sources for each in ordered for cell in each.cells}
    sources |= {timing.stem: sources[stem] for stem, timing in timings.items()}
    columns = {name: declared for each in ordered for name, declared in each.columns.items()}
    references = [reference.model_dump() for reference in matrix.references]
    declared = tuple(declared_columns(columns))
    labels = [entry.label for entry in matrix.datasets]
    data = {labels[each.dataset]: each.data_sources for each in ordered if each.data_sources is not None}
    images = {labels[each.dataset]: each.train_images for each in ordered if each.train_images is not None}
    return Plan(matrix.name, cells, timings, references, matrix, data_root, sources, data, declared, images)


@dataclass(frozen=True)
class _ResolvedModel:
    """What is the same in rows that differ only in how they train and evaluate.

    conditional: whether a part requests the images' context. code: the fingerprint of each plugin that takes part.
    sources: where those from outside come from. sizes: of a model that may be large.
    """

    slots: Slots
    skip: str | None
    expected_failure: str | None
    conditional: bool
    metrics: tuple[tuple[str, dict[str, Any]], ...]
    code: dict[str, str]
    sources: Sources
    sizes: Sizes | None


class _DatasetPlanner:
    """Plans the cells of one data set. What rows share is found once."""

    def __init__(self, entry: DatasetEntry, dataset: Dataset, machine: Machine, rehearsing: bool):
        self.entry, self.dataset, self.machine, self.rehearsing = entry, dataset, machine, rehearsing
        self.room = Room(machine.memory, machine.max_memory)
        self.rehearse = Rehearsals(dataset.train.rows(torch.arange(REHEARSED) % len(dataset.train)))
        self.models: dict[str, _ResolvedModel] = {}
        self.sources = sources_of([registry("dataset")[entry.name]])

    def planned(self, number: int, dataset: int, row: MatrixRow, seeds: list[int]) -> PlannedRow:
        """The row with this number: a cell for each seed, and their timing. dataset: the data set's number."""
        asked = repr(
            (row.variant, row.slots, row.latent, row.hidden, row.allow_pseudo_likelihood, row.evaluate.metrics)
        )
        if asked not in self.models:
            self.models[asked] = self._resolved(row)
        model, train = self.models[asked], row.train
        comparability = self._comparability(row, model, train)
        settings = settings_of(row, model.slots)
        images = min(train.batch_size, len(self.dataset.train))
        least = model.sizes or Sizes(0, 0, FLOAT * math.prod(self.dataset.spec.shape))
        unsupported = unsupported_precision(train.precision, self.machine.kind)
        skip = model.skip or unsupported or least.reason(max(images, REHEARSED), self.room)
        cells = tuple(
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
                search=row.search,
            )
            for key, specification in self._specification(row, model, train).with_seeds(seeds)
        )
        timing = _timing(cells[0], self.machine) if row.evaluate.throughput and cells[0].skip is None else None
        columns = {name: registry("metric")[name].columns for name, _ in model.metrics}
        images = len(self.dataset.train)
        return PlannedRow(number, dataset, cells, timing, model.sources, self.sources, columns, images)

    def _specification(self, row: MatrixRow, model: _ResolvedModel, train: TrainingOptions) -> Specification:
        return Specification(
            protocol=PROTOCOL,
            variant=row.variant,
            slots=model.slots,
            latent=row.latent if isinstance(row.latent, int) else tuple(row.latent),
            hidden=tuple(row.hidden),
            allow_pseudo_likelihood=row.allow_pseudo_likelihood,
            dataset=DatasetChoice(
                self.entry.name,
                self.entry.options,
                self.dataset.checksum,
                self._context_checksum(model),
                self._labels_checksum(model),
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

    def _labels_checksum(self, model: _ResolvedModel) -> str | None:
        read = any(registry("metric")[name].reads_labels for name, _ in model.metrics)
        return self.dataset.labels_checksum if read else None

    def _resolved(self, row: MatrixRow) -> _ResolvedModel:
        slots, skip, failure, conditional, sizes = self._rehearsed(row)
        metrics = _metrics(row)
        named = [(slot, name) for slot, (name, _) in slots.items()] + [("metric", name) for name, _ in metrics]
        code = {f"{slot}/{name}": _fingerprint(slot, name) for slot, name in named}
        every = [("variant", row.variant), *named, ("dataset", self.entry.name)]
        sources = sources_of([registry(slot)[name] for slot, name in every])
        return _ResolvedModel(slots, skip, failure, conditional, metrics, code, sources, sizes)

    def _rehearsed(self, row: MatrixRow) -> tuple[Slots, str | None, str | None, bool, Sizes | None]:
        """The row's slots, why it is skipped, what its rehearsal raised, whether its model is conditional, and the
        sizes of a model that may be large. One that does not fit is not rehearsed.
        """
        slots: Slots = {}
        conditional, sizes = False, None
        try:
            slots = resolve(row.variant, self.dataset.spec, row.slots)
            self._refuse_other_library(slots)
            ingredients = Ingredients.of(self.dataset, row.latent, row.hidden)
            if not self.rehearsing:
                return slots, None, "its rehearsal ended the process", False, None
            if may_be_large(row.latent, row.hidden, {slot: values for slot, (_, values) in slots.items()}):
                sizes = sizes_of(slots, ingredients, allow_pseudo_likelihood=row.allow_pseudo_likelihood)
            if sizes is not None and sizes.reason(REHEARSED, self.room):
                return slots, None, None, False, sizes  # which is a skip of every row with this model
            outcome = self.rehearse(slots, ingredients, allow_pseudo_likelihood=row.allow_pseudo_likelihood)
            error, conditional = outcome.error, outcome.conditional
        except VaezooError as invalid:
            error = invalid
        if isinstance(error, Skip):
            return slots, str(error), None, False, None
        if isinstance(error, VaezooError):
            raise VaezooError(f"row {row.label!r}: {error}") from error
        return slots, None, None if error is None else reason_of(error), conditional, sizes

    def _refuse_other_library(self, slots: Slots) -> None:
        """Raise Skip where the column that a count likelihood reads as the log of the library size cannot be that."""
        name, values = slots["likelihood"]
        column, context = values.get("library_column"), self.dataset.train.context
        if not isinstance(column, int) or context is None or not 0 <= column < context.shape[1]:
            return
        said = not_a_library(context[:, column], self.dataset.train.x)
        if said is not None:
            raise Skip(
                f"likelihood {name!r} takes column {column} of the context as the log of the library size, and {said}; "
                "give the library as context ('library' of own data stands first), or name its column by library_column"
            )


def _is_pseudo(slots: Slots, measure: str) -> bool:
    return measure not in measures_of(registry("likelihood")[slots["likelihood"][0]])


def _metrics(row: MatrixRow) -> tuple[tuple[str, dict[str, Any]], ...]:
    asked: list[tuple[str, Mapping[str, Any]]] = [(name, {}) for name in STANDARD_METRICS]
    asked += [(entry.name, entry.options) for entry in row.evaluate.metrics]
    return tuple((name, checked_options(registry("metric")[name], values)) for name, values in asked)


@lru_cache(maxsize=1024)
def _fingerprint(slot: str, name: str) -> str:
    return fingerprint(registry(slot)[name])


def settings_of(row: MatrixRow, slots: Slots) -> dict[str, Any]:
    """The settings of a row's cells, for the columns in which rows differ."""
    flat: dict[str, Any] = {}
    for slot, (name, values) in slots.items():
        flat[slot] = name
        flat |= {f"{slot}.{key}": value for key, value in values.items()}
    latent = row.latent if isinstance(row.latent, int) else str(list(row.latent))
    flat |= {"model.latent": latent, "model.hidden": str(list(row.hidden))}
    flat |= {f"train.{name}": value for name, value in vars(row.train).items()}
    return flat | {f"evaluate.{name}": value for name, value in row.evaluate.model_dump(exclude={"metrics"}).items()}


def _timing(cell: Cell, machine: Machine) -> Cell:
    """The cell that times the model of this one."""
    specification = cell.specification.timed_on(machine.device, machine.threads)
    return replace(cell, seed=None, key=specification.key, specification=specification)


def _refuse_twins(cells: list[Cell]) -> None:
    seen: dict[tuple[str, Any], Cell] = {}
    for cell in cells:
        first = seen.setdefault((cell.key, cell.skip), cell)
        if first.label != cell.label and cell.skip is None:
            raise VaezooError(
                f"rows {first.label!r} and {cell.label!r} are the same cell on {cell.dataset}; remove one of them"
            )
