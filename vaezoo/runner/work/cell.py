"""Runs a cell in the child process that serves it. Every engine calls these same functions."""

import os
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch

import vaezoo
from vaezoo.builder import Ingredients, construct
from vaezoo.core import compiled, products
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.errors import Skip, VaezooError, VaezooWarning
from vaezoo.core.model import LatentModel
from vaezoo.datasets import load_dataset
from vaezoo.evaluation.blocks import out_of_memory
from vaezoo.registry import registry
from vaezoo.runner.machine.device import describe, held_memory, memory, own_memory, restart_peak_memory
from vaezoo.runner.machine.sharing import device_use
from vaezoo.runner.machine.timing import measure_speeds
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.plan.sources import Sources
from vaezoo.runner.provenance import Provenance, now, nvidia_driver, versions
from vaezoo.runner.records import CellProgress, Record, Status, reason_of
from vaezoo.runner.store import Store
from vaezoo.runner.work.draw import draw_cells
from vaezoo.runner.work.evaluate import CellEvaluation
from vaezoo.runner.work.kept_warnings import warnings_kept
from vaezoo.runner.work.mapped import read_dataset
from vaezoo.runner.work.measure import Trained, evaluated_before, measured, unmeasured, with_further_metrics
from vaezoo.runner.work.resume import checkpoint_of
from vaezoo.training.checkpoint import Checkpoint, CheckpointClock, Interrupted
from vaezoo.training.loop import NotPacked, train, train_pack
from vaezoo.training.options import TrainingOptions
from vaezoo.training.seed_run import Diverged, EpochResult, TrainingResult


def run_pack(
    tasks: Sequence[Task], device: str, clock: CheckpointClock | None = None, log: Path | None = None
) -> list[Status]:
    """Train several seeds of a variant on a dataset together and evaluate each into its own record; their statuses.

    A pack of one task is a cell by itself. Where seeds cannot train together, or that fails, each is run alone and its
    record says why. clock: when training writes its checkpoint, and `request_stop()` of it ends the pack at its next
    step; what is unfinished then is `interrupted`, and goes on from the checkpoint when the tasks are run again. log:
    the file of what this process prints, which the record of a failure names.
    """
    run = partial(run_cell, device=device, clock=clock or CheckpointClock(), log=log)
    if tasks[0].cell.kind == "timings":
        return [run(task) for task in tasks]
    with device_use(device):
        evaluated = [task for task in tasks if unmeasured(task) is not None]
        others = [task for task in tasks if task not in evaluated]
        found = [run(task) for task in evaluated]
        found += _run_together(others, device, run) if len(others) > 1 else [run(task) for task in others]
        draw_cells(tasks, device)
        return found


def _seeds(tasks: Sequence[Task]) -> list[int]:
    return [task.cell.seed for task in tasks if task.cell.seed is not None]


def _run_together(tasks: Sequence[Task], device: str, run: "partial[Status]") -> list[Status]:
    """run: runs one cell, with the trained model of a pack where that is given."""
    trained: Sequence[Trained | Interrupted] | None = None
    try:
        trained = _trained_together(tasks, device, run.keywords["clock"])
    except Interrupted as stop:
        trained = [stop] * len(tasks)
    except Exception as error:  # each cell, run alone, records its own failure
        alone = f"trained alone, not with seeds {_seeds(tasks)}: {reason_of(error)}"
        if not isinstance(error, NotPacked):  # else the file, if there is one, is of the first seed alone
            Store(tasks[0].folder).remove_checkpoint(tasks[0].cell.stem)
    if trained is not None:
        return [run(task, trained=own) for task, own in zip(tasks, trained, strict=True)]
    return [run(replace(task, alone=alone)) for task in tasks]  # after `except`, which holds the pack


def _trained_together(tasks: Sequence[Task], device: str, clock: CheckpointClock) -> list[Trained]:
    store = Store(tasks[0].folder)
    held = _before_loading(device)
    with warnings_kept() as kept:
        model, objective, dataset, options = prepare(tasks[0], device)
        others = [prepare(task, device, dataset)[:2] for task in tasks[1:]]
        models, objectives = zip((model, objective), *others, strict=True)
        report = _reporter(tasks, store)
        checkpoint = checkpoint_of(tasks, device, clock, kept)
        outcomes = train_pack(
            models, objectives, dataset, options, seeds=_seeds(tasks), report=report, checkpoint=checkpoint
        )
    facts = dataset, kept, checkpoint, held
    return [_result(own, outcome, *facts) for own, outcome in zip(models, outcomes, strict=True)]


def _result(
    model: LatentModel,
    outcome: TrainingResult | Diverged,
    dataset: Dataset,
    warned: Sequence[str],
    checkpoint: Checkpoint,
    held: int,
) -> Trained:
    pack = tuple(checkpoint.seeds) if len(checkpoint.seeds) > 1 else None
    return Trained(model, dataset, outcome, warned, checkpoint.resumed, pack, held)


def _before_loading(device: str) -> int:
    """The memory that this process held before it first loaded the data and the model of a cell. The peak of a cell
    begins here.
    """
    restart_peak_memory(device)
    return _held_at_first(device)


@cache
def _held_at_first(device: str) -> int:
    return held_memory(device)


def run_cell(
    task: Task,
    device: str,
    trained: Trained | Interrupted | None = None,
    clock: CheckpointClock | None = None,
    log: Path | None = None,
) -> Status:
    """Run one cell and write its record, whatever happens; the record's status.

    trained: the model of a pack, or why its training was stopped; else the model is trained here. clock, log: as in
    `run_pack`.
    """
    cell, store, clock = task.cell, Store(task.folder), clock or CheckpointClock()
    record, outcome = Record.of(cell, "ok"), trained.outcome if isinstance(trained, Trained) else None
    shared = outcome.seconds if isinstance(outcome, TrainingResult) else 0.0
    started, process = time.perf_counter(), os.getpid()
    try:
        record = replace(record, provenance=provenance(device, task))
        with warnings_kept() as kept:
            if cell.kind == "timings":
                record = _timed(record, task, device)
            elif (found := _measured_before(task, device)) is not None:
                record, evaluation = found
                shared = record.seconds or 0.0
                record = with_further_metrics(record, evaluation, task, clock, kept)
            else:
                trained = _trained(task, device, store, clock, kept) if trained is None else _still(trained, clock)
                record = replace(record, pack=trained.pack, resumed=trained.resumed or None)
                record, evaluation = measured(record, task, device, store, trained, kept)
                record = replace(record, seconds=shared + time.perf_counter() - started)
                if record.status == "ok":
                    record = with_further_metrics(record, evaluation, task, clock, kept)
    except BaseException as error:  # a failure is a result: it is recorded with its reason and its log
        if not isinstance(error, Interrupted):
            traceback.print_exc()
        status = _status(error)
        record = replace(record, status=status, reason=reason_of(error), may_pass=status == "oom")
    if os.getpid() != process:  # a copy that a plugin has forked: the cell is the other process's
        os._exit(0)
    with clock.polled():
        if log is not None and (record.status not in ("ok", "skipped") or record.failed_metrics):
            record = replace(record, log=f"logs/{log.name}")
        if record.provenance is not None:
            multiplied = dict(products.all_chosen()) if record.provenance.products else {}
            last = replace(record.provenance, finished=now(), loops=compiled.compiler(), products=multiplied)
            record = replace(record, provenance=last)
        return store.write(cell, replace(record, seconds=shared + time.perf_counter() - started)).status


def _measured_before(task: Task, device: str) -> tuple[Record, CellEvaluation] | None:
    """The record and the evaluation of a cell whose process ended while it measured its further metrics, or None.

    None also where its files are not those of the record, as after a kill between the writing of the two: the cell then
    begins anew, and a warning says so.
    """
    record = unmeasured(task)
    if record is None:
        return None
    model, _, dataset, _ = prepare(task, device)
    try:
        return record, evaluated_before(record, task, model, dataset)
    except VaezooError as error:
        warnings.warn(f"the evaluation begins anew: {error}", VaezooWarning, stacklevel=2)
        return None


def _status(error: BaseException) -> Status:
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, Interrupted):
        return "interrupted"
    if isinstance(error, Skip):
        return "skipped"
    causes = (error, error.__cause__)  # a data set's own error is the cause of vaezoo's
    return "oom" if any(isinstance(each, Exception) and out_of_memory(each) for each in causes) else "failed"


def prepare(
    task: Task, device: str, dataset: Dataset | None = None
) -> tuple[LatentModel, Objective, Dataset, TrainingOptions]:
    """The model, objective, dataset (loaded where it is not given) and training options of a cell, on the device.
    VaezooError where the data or the code of a plugin have changed.
    """
    dtype = torch.get_default_dtype()
    Sources(tuple(map(str, task.plugins)), task.packages).load()
    torch.set_default_dtype(dtype)  # else the weights are not those that the record's model can take
    spec = task.cell.specification
    if dataset is None and task.data is not None:
        dataset = read_dataset(task.data)
    if dataset is None:
        dataset = load_dataset(spec.dataset.name, task.data_root, options=spec.dataset.options)
    for remark in dataset.remarks:
        warnings.warn(f"dataset {spec.dataset.name!r}: {remark}", VaezooWarning, stacklevel=2)
    changed = dataset.checksum != spec.dataset.checksum
    if spec.dataset.context_checksum is not None:  # which only a conditional model depends on
        changed |= dataset.context_checksum != spec.dataset.context_checksum
    if spec.dataset.labels_checksum is not None:  # which only a metric depends on
        changed |= dataset.labels_checksum != spec.dataset.labels_checksum
    if not spec.dataset.checksum:  # the plan was made without its plugins, which had ended their process
        raise VaezooError(task.cell.expected_failure or "it could not be planned")
    if changed:
        raise VaezooError(f"dataset {spec.dataset.name!r} has changed since the plan was made; plan and run again")
    for title, code in spec.code.items():
        slot, _, name = title.partition("/")
        if fingerprint(registry(slot)[name]) != code:
            raise VaezooError(f"{slot} {name!r} has changed since the plan was made; plan and run again")
    ingredients = Ingredients.of(dataset, spec.latent, spec.hidden)
    model, objective = construct(
        spec.slots, ingredients, seed=spec.seed or 0, allow_pseudo_likelihood=spec.allow_pseudo_likelihood
    )
    model.precision = spec.train.precision
    return model.to(device), objective.to(device), dataset, spec.train


def _reporter(tasks: Sequence[Task], store: Store) -> Callable[[int, EpochResult], None]:
    """Writes each task's progress after an epoch, at most twice a second."""
    last = [0.0] * len(tasks)

    def report(place: int, progress: EpochResult) -> None:
        """Write the progress of the task at this place."""
        if time.monotonic() - last[place] > 0.5 or progress.epoch == progress.epochs:
            last[place] = time.monotonic()
            store.write_progress(tasks[place].cell.stem, CellProgress(**vars(progress), pid=os.getpid()))

    return report


def _trained(task: Task, device: str, store: Store, clock: CheckpointClock, kept: list[str]) -> Trained:
    held = _before_loading(device)
    model, objective, dataset, options = prepare(task, device)
    report, [seed] = _reporter([task], store), _seeds([task])
    alone = [] if task.alone is None else [task.alone]
    kept.extend(alone)
    checkpoint = checkpoint_of([task], device, clock, kept)

    def tell(progress: EpochResult) -> None:
        """Write the progress of this one task."""
        report(0, progress)

    outcome: TrainingResult | Diverged
    try:
        outcome = train(model, objective, dataset, options, seed=seed, report=tell, checkpoint=checkpoint)
    except Diverged as error:
        outcome = error
    trained = _result(model, outcome, dataset, (), checkpoint, held)
    if trained.pack is not None:  # it goes on with the evaluation after a pack, so it was not trained alone
        kept[:] = [text for text in kept if text not in alone]
    return trained


def _still(trained: Trained | Interrupted, clock: CheckpointClock) -> Trained:
    """The model of a pack, unless a stop is requested. Raises Interrupted."""
    if isinstance(trained, Interrupted):
        raise trained
    if clock.stop_requested:
        raise Interrupted("stopped before its evaluation; the same command goes on from there")
    return trained


def _timed(record: Record, task: Task, device: str) -> Record:
    """The record of a timing with the speeds that were measured."""
    held = _before_loading(device)
    model, objective, dataset, options = prepare(task, device)
    with device_use(device, alone=True) as disturbed:
        results = measure_speeds(model, objective, dataset, options)
    results["own_memory_bytes"] = own_memory(device, held)
    return replace(record, results=results, warnings=tuple(disturbed))


def provenance(device: str, task: Task) -> Provenance:
    """Where and with what a cell is run in this process, at its start."""
    return Provenance(
        vaezoo=vaezoo.__version__,
        torch=str(torch.__version__),
        python=platform.python_version(),
        platform=platform.platform(),
        device=describe(device),
        threads=torch.get_num_threads(),
        memory_bytes=memory(device),
        plugins=tuple(path.name for path in task.plugins),
        finished=now(),
        started=now(),
        host=platform.node(),
        driver=nvidia_driver() if device.startswith("cuda") else None,
        git=task.run.git,
        command=task.run.command,
        versions=versions(),
        products={} if device.startswith("cuda") else dict(products.choice()),
    )
