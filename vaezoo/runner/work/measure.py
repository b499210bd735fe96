"""What a cell measures after its training, and its record meanwhile: every cell's numbers, then metric by metric."""

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from vaezoo.core import heartbeat
from vaezoo.core.data import Dataset
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.audit import audit
from vaezoo.evaluation.audit_figures import Audit
from vaezoo.runner.machine.device import own_memory
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.records import DataFacts, Record, reason_of
from vaezoo.runner.store import Store
from vaezoo.runner.work.checkpoint import load_weights, save_weights, trained_model
from vaezoo.runner.work.evaluate import CellEvaluation, globals_restored
from vaezoo.training.checkpoint import CheckpointClock, Interrupted
from vaezoo.training.seed_run import Diverged, TrainingResult

STOPPED = "stopped"
"""The stage of a cell that was asked to stop between its metrics."""


@dataclass(frozen=True)
class Trained:
    """A model after training, its data, the result and the warnings of training, and how often it was resumed.

    pack: the seeds that were trained together, or None. held: `held_memory` before the data and the model were loaded.
    """

    model: LatentModel
    dataset: Dataset
    outcome: TrainingResult | Diverged
    warnings: Sequence[str]
    resumed: int
    pack: tuple[int, ...] | None
    held: int


def unmeasured(task: Task) -> Record | None:
    """The record of a cell whose process ended while it measured its further metrics, or None."""
    record = Store(task.folder).record("cells", task.cell.stem) if task.cell.kind == "cells" else None
    return record if record is not None and record.status == "ok" and record.pending_metrics else None


def measured(
    record: Record, task: Task, device: str, store: Store, trained: Trained, kept: list[str]
) -> tuple[Record, CellEvaluation]:
    """The record of a cell with what every trained model measures, and its audit. Raises Diverged where training did.

    A cell that fails the audit has no results: its status is failed, and its weights stay. kept: the warnings, to which
    those of the evaluation are added.
    """
    kept.extend(trained.warnings)
    model, dataset, outcome = trained.model, trained.dataset, trained.outcome
    if isinstance(outcome, Diverged):
        raise outcome
    evaluation = CellEvaluation(task.cell, model, dataset)
    evaluation.standard()
    evaluation.results |= {"train_seconds": outcome.seconds, "own_memory_bytes": own_memory(device, trained.held)}
    save_weights(model, store.path("checkpoints", task.cell.stem))
    names = ("objective", "validation_iwll", "seconds")
    record = replace(
        record,
        best_epoch=outcome.best_epoch,
        history={name: [getattr(epoch, name) for epoch in outcome.history] for name in names},
        validation=outcome.validation,
        data=DataFacts(**vars(dataset.spec), train_size=len(dataset.train), overlaps=dataset.overlaps),
    )
    record = replace(record, audit=_audited(record, evaluation, store))
    if record.audit is not None and record.audit.failure is not None:
        print(record.audit.failure, file=sys.stderr)
        warned = tuple(dict.fromkeys((*record.warnings, *kept)))
        return replace(record, status="failed", reason=record.audit.failure, warnings=warned), evaluation
    return _with(record, evaluation, store, kept, bool(evaluation.further)), evaluation


def _audited(record: Record, evaluation: CellEvaluation, store: Store) -> Audit:
    """The audit of a model whose weights have been written, by a model that is built anew from the record."""
    heartbeat.tell(stage="audit")
    with globals_restored():
        reloaded = trained_model(record, store, evaluation.cell.stem).to(evaluation.model.device)
        found = audit(evaluation.model, reloaded, evaluation.images, evaluation.evaluation)
    heartbeat.tell(stage="")
    return found


def _with(record: Record, evaluation: CellEvaluation, store: Store, kept: Sequence[str], more: bool) -> Record:
    """The record with what has been evaluated so far, whose per-image values are written. more: whether another metric
    follows, which may come to read the values.
    """
    found = evaluation.evaluation
    stem = evaluation.cell.stem
    per_image = {name: value.detach().cpu().numpy() for name, value in found.per_image.items()}
    store.write_images(stem, per_image, exact=more)
    vectors = {name: torch.as_tensor(value).tolist() for name, value in found.vectors.items()}
    return replace(
        record,
        results=dict(evaluation.results),
        vectors=record.vectors | vectors,
        notes=record.notes | found.notes,
        warnings=tuple(dict.fromkeys((*record.warnings, *kept))),
    )


def with_further_metrics(
    record: Record, evaluation: CellEvaluation, task: Task, clock: CheckpointClock, kept: Sequence[str]
) -> Record:
    """The record with the metrics beyond those of every cell. One that fails leaves the others as they are.

    The record is written before each metric, with those that are still to be measured: whatever ends the process then
    costs that metric alone.
    """
    store, lost = Store(task.folder), dict(task.lost_metrics)
    wanted = record.pending_metrics or tuple(evaluation.further)
    for place, name in enumerate(wanted):
        if name in lost:
            record = replace(record, failed_metrics=record.failed_metrics | {name: lost[name]})
            continue
        if clock.stop_requested:
            return _stopped(record, wanted[place:])
        with clock.polled():
            store.write(task.cell, replace(record, pending_metrics=wanted[place:]))
        try:
            evaluation.metric(name)
            record = _with(record, evaluation, store, kept, place + 1 < len(wanted))
        except Interrupted:
            return _stopped(record, wanted[place:])
        except BaseException as error:  # it costs the cell nothing else
            traceback.print_exc()
            record = replace(record, failed_metrics=record.failed_metrics | {name: reason_of(error)})
    if record.failed_metrics:  # the last metric may have failed before the values were written for good
        record = _with(record, evaluation, store, kept, False)
    return replace(record, pending_metrics=())


def _stopped(record: Record, left: tuple[str, ...]) -> Record:
    """The record of a cell that was asked to stop before these metrics. The run is told: else it would take the end of
    the process for the failure of a metric.
    """
    heartbeat.tell(stage=STOPPED)
    return replace(record, pending_metrics=left)


def evaluated_before(record: Record, task: Task, model: LatentModel, dataset: Dataset) -> CellEvaluation:
    """The evaluation of a cell whose record has metrics to be measured. model: without its trained weights, which are
    loaded.
    """
    store, stem = Store(task.folder), task.cell.stem
    load_weights(model, store, stem, record)
    evaluation = CellEvaluation(task.cell, model.eval(), dataset)
    evaluation.restore(
        record.results, {name: torch.from_numpy(each) for name, each in store.images(stem, record).items()}
    )
    return evaluation
