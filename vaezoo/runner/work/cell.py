"""One cell, in the child process that runs it: the same function for every engine."""

import os
import platform
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import vaezoo
from vaezoo.builder import Ingredients, Slots, construct
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.errors import Skip, VaezooError, VaezooWarning
from vaezoo.core.model import LatentModel
from vaezoo.core.precision import no_hidden_tf32
from vaezoo.core.torch_internals import preload
from vaezoo.datasets import load_dataset
from vaezoo.registry import register, registry
from vaezoo.runner.machine.device import describe, memory, peak_memory, restart_peak_memory
from vaezoo.runner.machine.sharing import device_use
from vaezoo.runner.machine.timing import measure_speeds
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.store import Store
from vaezoo.runner.work.checkpoint import save_weights
from vaezoo.runner.work.evaluate import data_facts, evaluated
from vaezoo.training.loop import Diverged, EpochResult, NotPacked, TrainingResult, train, train_pack
from vaezoo.training.options import TrainingOptions

Task = Mapping[str, Any]
Trained = tuple[LatentModel, Dataset, TrainingResult | Diverged]


def start_worker(threads: int, parent: int) -> None:
    """Set up a worker that will serve many cells: its share of the cores, and an end when its parent is gone."""
    torch.set_num_threads(threads)
    no_hidden_tf32()
    preload()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        """End this process when its parent has gone."""
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_pack(tasks: Sequence[Task], device: str) -> list[str]:
    """Train several seeds of a variant on a dataset together and evaluate each into its own record; their statuses.

    One task is a cell by itself. Where seeds cannot train together, or that fails, each is run alone and its record
    says why.
    """
    if tasks[0]["seed"] is None:
        return [run_cell(task, device) for task in tasks]
    with device_use(device):
        return _run_together(tasks, device) if len(tasks) > 1 else [run_cell(tasks[0], device)]


def _run_together(tasks: Sequence[Task], device: str) -> list[str]:
    seeds = [task["seed"] for task in tasks]
    try:
        trained = _trained_together(tasks, device, seeds)
    except Exception as error:  # whatever it was, alone each says for itself
        alone = f"trained alone, not with seeds {seeds}: {_reason(error)}"
    else:
        return [run_cell({**task, "pack": seeds}, device, own) for task, own in zip(tasks, trained, strict=True)]
    return [run_cell({**task, "alone": alone}, device) for task in tasks]  # here the pack's memory is free again


def _trained_together(tasks: Sequence[Task], device: str, seeds: list[int]) -> list[Trained]:
    store = Store(tasks[0]["folder"])
    with _logged(store.path("logs", tasks[0]["stem"])):
        restart_peak_memory(device)
        model, objective, dataset, settings = prepare(tasks[0], device)
        others = [prepare(task, device, dataset)[:2] for task in tasks[1:]]
        models, objectives = zip((model, objective), *others, strict=True)
        report = _reporter(tasks, store)
        outcomes = train_pack(models, objectives, dataset, settings, seeds=seeds, report=report)
    return [(own, dataset, outcome) for own, outcome in zip(models, outcomes, strict=True)]


def run_cell(task: Task, device: str, trained: Trained | None = None) -> str:
    """Run one cell and write its record, whatever happens; the record's status. trained: by a pack, else it is here."""
    store = Store(task["folder"])
    kind = "timings" if task["seed"] is None else "cells"
    record: dict[str, Any] = {
        name: task[name] for name in ("label", "variant", "dataset", "seed", "key", "specification")
    }
    record |= {"status": "ok", "reason": None, "comparability": task["comparability"]}
    record |= {
        "precision": task["comparability"]["precision"],
        "pseudo_likelihood": task["comparability"]["pseudo_likelihood"],
    }
    started, log = time.perf_counter(), store.path("logs", task["stem"])
    with _logged(log):
        try:
            record["provenance"] = provenance(device, task)
            record["device"] = describe(device)
            if "pack" in task:
                record["pack"] = task["pack"]
            record |= _timing_results(task, device) if kind == "timings" else _results(task, device, store, trained)
        except (Exception, SystemExit) as error:  # a failure is a result: it is recorded with its reason and its log
            traceback.print_exc()
            record["status"], record["reason"] = _status(error), f"{_reason(error)}"
    if record["status"] in ("ok", "skipped"):
        log.unlink(missing_ok=True)
    else:
        record["log"] = f"logs/{log.name}"
    shared = trained[2].seconds if trained is not None and isinstance(trained[2], TrainingResult) else 0.0
    record["seconds"] = shared + time.perf_counter() - started
    store.write(kind, task["stem"], record)
    store.path("running", task["stem"]).unlink(missing_ok=True)
    return str(record["status"])


def _status(error: BaseException) -> str:
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, Skip):
        return "skipped"
    return "oom" if isinstance(error, MemoryError | torch.OutOfMemoryError) else "failed"


def _reason(error: BaseException) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first if isinstance(error, VaezooError | Diverged | NotPacked) else f"{type(error).__name__}: {first}"


def prepare(
    task: Task, device: str, dataset: Dataset | None = None
) -> tuple[LatentModel, Objective, Dataset, TrainingOptions]:
    """The model, objective, dataset (loaded where it is not given) and training settings of a cell, on the device.
    VaezooError where the data have changed.
    """
    for path in task["plugins"]:
        register.load_file(path)
    spec = task["specification"]
    if dataset is None:
        dataset = load_dataset(spec["dataset"]["name"], task["data_root"], options=spec["dataset"]["options"])
    if dataset.checksum != spec["dataset"]["checksum"]:
        raise VaezooError(
            f"dataset {spec['dataset']['name']!r} has changed since the plan was made; plan and run again"
        )
    for title, code in spec["code"].items():
        slot, _, name = title.partition("/")
        if fingerprint(registry(slot)[name]) != code:
            raise VaezooError(f"{slot} {name!r} has changed since the plan was made; plan and run again")
    slots: Slots = {slot: (name, dict(values)) for slot, (name, values) in spec["slots"].items()}
    ingredients = Ingredients.of(dataset, spec["latent"], spec["hidden"])
    model, objective = construct(
        slots, ingredients, seed=spec.get("seed", 0), allow_pseudo_likelihood=spec["allow_pseudo_likelihood"]
    )
    model.precision = spec["train"]["precision"]
    settings = TrainingOptions(**spec["train"])
    return model.to(device), objective.to(device), dataset, settings


def _reporter(tasks: Sequence[Task], store: Store) -> Callable[[int, EpochResult], None]:
    """Leaves word of each task's epoch, at most twice a second."""
    last = [0.0] * len(tasks)

    def report(place: int, progress: EpochResult) -> None:
        """Of the task at this place."""
        if time.monotonic() - last[place] > 0.5 or progress.epoch == progress.epochs:
            last[place] = time.monotonic()
            said = {**vars(progress), "pid": os.getpid()}
            store.write("running", tasks[place]["stem"], said, lasting=False)

    return report


def _trained(task: Task, device: str, store: Store) -> Trained:
    restart_peak_memory(device)
    model, objective, dataset, settings = prepare(task, device)
    report = _reporter([task], store)
    outcome = train(model, objective, dataset, settings, seed=task["seed"], report=lambda progress: report(0, progress))
    return model, dataset, outcome


def _results(task: Task, device: str, store: Store, trained: Trained | None) -> dict[str, Any]:
    with _warnings_kept() as said:
        if "alone" in task:
            said.append(task["alone"])
        model, dataset, outcome = trained or _trained(task, device, store)
        if isinstance(outcome, Diverged):
            raise outcome
        results, context = evaluated(task, model, dataset)
    results |= {"train_seconds": outcome.seconds, "peak_memory_bytes": peak_memory(device)}
    save_weights(model, store.path("checkpoints", task["stem"]))
    store.write_images(task["stem"], {name: value.numpy() for name, value in context.per_image.items()})
    names = ("objective", "validation_iwll", "seconds")
    return {
        "results": results,
        "best_epoch": outcome.best_epoch,
        "history": {name: [getattr(epoch, name) for epoch in outcome.history] for name in names},
        "vectors": {name: value.tolist() for name, value in context.vectors.items()},
        "notes": context.notes,
        "warnings": said,
        "data": data_facts(dataset.spec, len(dataset.train)),
    }


@contextmanager
def _warnings_kept() -> Iterator[list[str]]:
    """What vaezoo itself warns of, each line once, for the record; every warning goes to the log as usual."""
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", VaezooWarning)
        shown = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            """Keep it and show it."""
            if issubclass(category, VaezooWarning) and str(message) not in said:
                said.append(str(message))
            shown(message, category, *where, **more)

        warnings.showwarning = show
        yield said


def _timing_results(task: Task, device: str) -> dict[str, Any]:
    model, objective, dataset, settings = prepare(task, device)
    with device_use(device, alone=True) as disturbed:
        results = measure_speeds(model, objective, dataset, settings)
    return {"results": results, "warnings": disturbed}


def provenance(device: str, task: Task) -> dict[str, Any]:
    """Where and with what a cell was run."""
    return {
        "vaezoo": vaezoo.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": describe(device),
        "threads": torch.get_num_threads(),
        "memory_bytes": memory(device),
        "plugins": [Path(path).name for path in task["plugins"]],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Everything the cell prints, also from C, goes to its log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        kept = os.dup(1), os.dup(2)
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
        finally:
            sys.stdout.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
