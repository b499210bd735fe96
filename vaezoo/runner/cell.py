"""One cell, in the child process that runs it: the same function for every engine."""

import math
import os
import platform
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

import vaezoo
from vaezoo.builder import Ingredients, Slots, construct
from vaezoo.core.data import Dataset, DataSpec
from vaezoo.core.errors import Skip, VaezooError, VaezooWarning
from vaezoo.core.evaluation import Evaluation
from vaezoo.core.model import LatentModel
from vaezoo.datasets import load_dataset
from vaezoo.registry import register, registry
from vaezoo.runner.checkpoint import save_weights
from vaezoo.runner.device import describe, memory, peak_memory, restart_peak_memory
from vaezoo.runner.fingerprint import fingerprint
from vaezoo.runner.store import Store
from vaezoo.runner.timing import measure_speeds
from vaezoo.training.train import Diverged, Progress, Settings, train

Task = Mapping[str, Any]


def start_worker(threads: int, parent: int) -> None:
    """Set up a worker that will serve many cells: its share of the cores, and an end when its parent is gone."""
    torch.set_num_threads(threads)
    import_module("torch._dynamo")  # else the first optimiser does, and the first cell's training time counts it
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        """End this process when its parent has gone."""
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_cell(task: Task, device: str) -> str:
    """Run one cell and write its record, whatever happens; the record's status."""
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
            record |= (_timing_results if kind == "timings" else _results)(task, device, store)
        except (Exception, SystemExit) as error:  # a failure is a result: it is recorded with its reason and its log
            traceback.print_exc()
            record["status"], record["reason"] = _status(error), f"{_reason(error)}"
    if record["status"] in ("ok", "skipped"):
        log.unlink(missing_ok=True)
    else:
        record["log"] = f"logs/{log.name}"
    record["seconds"] = time.perf_counter() - started
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
    return first if isinstance(error, VaezooError | Diverged) else f"{type(error).__name__}: {first}"


def prepare(task: Task, device: str) -> tuple[LatentModel, torch.nn.Module, Dataset, Settings]:
    """The model, objective, dataset and training settings of a cell, on the device. VaezooError where the data have
    changed.
    """
    for path in task["plugins"]:
        register.load_file(path)
    spec = task["specification"]
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
    settings = Settings(**{k: v for k, v in spec["train"].items() if k != "precision"})
    return model.to(device), objective.to(device), dataset, settings


def _results(task: Task, device: str, store: Store) -> dict[str, Any]:
    restart_peak_memory(device)
    model, objective, dataset, settings = prepare(task, device)
    last = 0.0

    def report(progress: Progress) -> None:
        """Leave word of the epoch, at most twice a second."""
        nonlocal last
        if time.monotonic() - last > 0.5 or progress.epoch == progress.epochs:
            last = time.monotonic()
            store.write("running", task["stem"], {**vars(progress), "pid": os.getpid()}, lasting=False)

    outcome = train(model, objective, dataset, settings, seed=task["seed"], report=report)  # type: ignore[arg-type]
    spec = task["specification"]
    count = task["comparability"]["images"]
    images, context = (
        dataset.test.x[:count],
        Evaluation(spec["evaluate"]["importance_samples"], 0, dataset, torch.arange(count)),
    )
    results: dict[str, Any] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_seconds": outcome.seconds,
    }
    with _warnings_kept() as said:
        for name, values in spec["metrics"]:
            found = registry("metric")[name].target(model, images, context, **values)
            results |= {column: value for column, value in found.items() if value is not None}
    if not math.isfinite(results["iwll"]):
        raise Diverged(f"the test iwll is {results['iwll']} although training was finite")
    if dataset.log_likelihood is not None:
        results["true_log_likelihood"] = float(dataset.log_likelihood(images).double().mean())
    results["peak_memory_bytes"] = peak_memory(device)
    save_weights(model, store.path("checkpoints", task["stem"]))
    store.write_images(task["stem"], {name: value.numpy() for name, value in context.per_image.items()})
    history = {
        name: [getattr(p, name) for p in outcome.history] for name in ("objective", "validation_iwll", "seconds")
    }
    return {
        "results": results,
        "best_epoch": outcome.best_epoch,
        "history": history,
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


def _timing_results(task: Task, device: str, store: Store) -> dict[str, Any]:
    model, objective, dataset, settings = prepare(task, device)
    return {"results": measure_speeds(model, objective, dataset, settings)}  # type: ignore[arg-type]


def data_facts(spec: DataSpec, train_size: int) -> dict[str, Any]:
    """What is needed to build a model again without its data."""
    return {**vars(spec), "shape": list(spec.shape), "train_size": train_size}


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
