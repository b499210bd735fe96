"""Runs a cell in the child process that serves it. Every engine calls these same functions."""

import os
import platform
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import torch

import vaezoo
from vaezoo.builder import Ingredients, construct
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.errors import Skip, VaezooError, VaezooWarning
from vaezoo.core.model import LatentModel
from vaezoo.core.precision import no_hidden_tf32
from vaezoo.core.torch_internals import preload
from vaezoo.datasets import load_dataset
from vaezoo.evaluation.blocks import out_of_memory
from vaezoo.registry import register, registry
from vaezoo.runner.machine.device import describe, memory, peak_memory, restart_peak_memory
from vaezoo.runner.machine.sharing import device_use, keep_console
from vaezoo.runner.machine.timing import measure_speeds
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.provenance import Provenance, now, nvidia_driver, versions
from vaezoo.runner.records import CellProgress, DataFacts, Record, Status, reason_of
from vaezoo.runner.store import Store
from vaezoo.runner.work.checkpoint import save_weights
from vaezoo.runner.work.evaluate import evaluated
from vaezoo.training.loop import Diverged, EpochResult, TrainingResult, train, train_pack
from vaezoo.training.options import TrainingOptions

MOST_WARNINGS = 100
"""Warnings that the record of a cell keeps."""
Trained = tuple[LatentModel, Dataset, TrainingResult | Diverged, Sequence[str]]
"""A model after training, its data, the result of training, and the warnings of training."""


def start_worker(threads: int, parent: int, said: Event) -> None:
    """Set up a worker that will serve many cells: its number of threads, and that it ends when its parent is gone.

    said: see `keep_console`.
    """
    torch.set_num_threads(threads)
    keep_console(said)
    no_hidden_tf32()
    preload()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        """End this process when its parent has gone."""
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_pack(tasks: Sequence[Task], device: str) -> list[Status]:
    """Train several seeds of a variant on a dataset together and evaluate each into its own record; their statuses.

    A pack of one task is a cell by itself. Where seeds cannot train together, or that fails, each is run alone and its
    record says why.
    """
    if tasks[0].cell.kind == "timings":
        return [run_cell(task, device) for task in tasks]
    with device_use(device):
        return _run_together(tasks, device) if len(tasks) > 1 else [run_cell(tasks[0], device)]


def _seeds(tasks: Sequence[Task]) -> list[int]:
    return [task.cell.seed for task in tasks if task.cell.seed is not None]


def _run_together(tasks: Sequence[Task], device: str) -> list[Status]:
    try:
        trained = _trained_together(tasks, device)
    except Exception as error:  # each cell, run alone, records its own failure
        alone = f"trained alone, not with seeds {_seeds(tasks)}: {reason_of(error)}"
    else:
        pack = tuple(_seeds(tasks))
        return [run_cell(replace(task, pack=pack), device, own) for task, own in zip(tasks, trained, strict=True)]
    return [run_cell(replace(task, alone=alone), device) for task in tasks]  # after `except`, which holds the pack


def _trained_together(tasks: Sequence[Task], device: str) -> list[Trained]:
    store = Store(tasks[0].folder)
    with _logged(store.path("logs", tasks[0].cell.stem)):
        restart_peak_memory(device)
        model, objective, dataset, options = prepare(tasks[0], device)
        others = [prepare(task, device, dataset)[:2] for task in tasks[1:]]
        models, objectives = zip((model, objective), *others, strict=True)
        report = _reporter(tasks, store)
        with _warnings_kept() as kept:
            outcomes = train_pack(models, objectives, dataset, options, seeds=_seeds(tasks), report=report)
    return [(own, dataset, outcome, kept) for own, outcome in zip(models, outcomes, strict=True)]


def run_cell(task: Task, device: str, trained: Trained | None = None) -> Status:
    """Run one cell and write its record, whatever happens; the record's status. trained: the model of a pack, else the
    model is trained here.
    """
    cell, store = task.cell, Store(task.folder)
    record = replace(Record.of(cell, "ok"), pack=task.pack)
    started, log = time.perf_counter(), store.path("logs", cell.stem)
    with _logged(log):
        try:
            record = replace(record, provenance=provenance(device, task))
            if cell.kind == "timings":
                record = _timed(record, task, device)
            else:
                record = _measured(record, task, device, store, trained)
        except (Exception, SystemExit) as error:  # a failure is a result: it is recorded with its reason and its log
            traceback.print_exc()
            record = replace(record, status=_status(error), reason=reason_of(error))
    if record.status in ("ok", "skipped"):
        log.unlink(missing_ok=True)
    else:
        record = replace(record, log=f"logs/{log.name}")
    shared = trained[2].seconds if trained is not None and isinstance(trained[2], TrainingResult) else 0.0
    if record.provenance is not None:
        record = replace(record, provenance=replace(record.provenance, finished=now()))
    return store.write(cell, replace(record, seconds=shared + time.perf_counter() - started)).status


def _status(error: BaseException) -> Status:
    if isinstance(error, Diverged):
        return "diverged"
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
    for path in task.plugins:
        register.load_file(path)
    spec = task.cell.specification
    if dataset is None:
        dataset = load_dataset(spec.dataset.name, task.data_root, options=spec.dataset.options)
    changed = dataset.checksum != spec.dataset.checksum
    if spec.dataset.context_checksum is not None:  # which only a conditional model depends on
        changed |= dataset.context_checksum != spec.dataset.context_checksum
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


def _trained(task: Task, device: str, store: Store) -> Trained:
    restart_peak_memory(device)
    model, objective, dataset, options = prepare(task, device)
    report, [seed] = _reporter([task], store), _seeds([task])
    outcome = train(model, objective, dataset, options, seed=seed, report=lambda progress: report(0, progress))
    return model, dataset, outcome, ()


def _measured(record: Record, task: Task, device: str, store: Store, trained: Trained | None) -> Record:
    """The record of a cell with what its trained model measured. Raises Diverged where training did."""
    with _warnings_kept() as kept:
        if task.alone is not None:
            kept.append(task.alone)
        model, dataset, outcome, warned = trained or _trained(task, device, store)
        kept.extend(warned)
        if isinstance(outcome, Diverged):
            raise outcome
        results, context = evaluated(task.cell, model, dataset)
    results |= {"train_seconds": outcome.seconds, "peak_memory_bytes": peak_memory(device)}
    save_weights(model, store.path("checkpoints", task.cell.stem))
    store.write_images(task.cell.stem, {name: value.numpy() for name, value in context.per_image.items()})
    names = ("objective", "validation_iwll", "seconds")
    return replace(
        record,
        results=results,
        best_epoch=outcome.best_epoch,
        history={name: [getattr(epoch, name) for epoch in outcome.history] for name in names},
        vectors={name: value.tolist() for name, value in context.vectors.items()},
        notes=context.notes,
        warnings=tuple(kept),
        data=DataFacts(**vars(dataset.spec), train_size=len(dataset.train)),
    )


@contextmanager
def _warnings_kept() -> Iterator[list[str]]:
    """Collects vaezoo's warnings, each line once, for the record. Every warning goes to the log as usual."""
    kept: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", VaezooWarning)
        shown = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            """Keep the message, and show it."""
            if issubclass(category, VaezooWarning) and str(message) not in kept and len(kept) < MOST_WARNINGS:
                kept.append(str(message))
            shown(message, category, *where, **more)

        warnings.showwarning = show
        yield kept


def _timed(record: Record, task: Task, device: str) -> Record:
    """The record of a timing with the speeds that were measured."""
    model, objective, dataset, options = prepare(task, device)
    with device_use(device, alone=True) as disturbed:
        results = measure_speeds(model, objective, dataset, options)
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
    )


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Everything that the cell prints, also from C, goes to its log, a new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link to another file
    with path.open("x", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        streams = os.dup(1), os.dup(2)
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
        finally:
            sys.stdout.flush()
            for number, old in zip((1, 2), streams, strict=True):
                os.dup2(old, number)
                os.close(old)
