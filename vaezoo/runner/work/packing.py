"""Whether the seeds of a pack train faster together than one by one. On a CPU it is measured.

A pack takes fewer and larger operations. But a step of it passes over the weights, gradients and moments of all seeds,
where those of one seed may stay in the processor's cache from step to step. Which counts for more hangs on the model
and on the machine.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from vaezoo.core import heartbeat
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooWarning
from vaezoo.core.measured_choice import Times, measured_once, setting
from vaezoo.core.model import LatentModel
from vaezoo.runner.machine.timing import orders
from vaezoo.runner.plan.cell import Task
from vaezoo.training.loop import make_packed_step, make_step
from vaezoo.training.options import TrainingOptions
from vaezoo.training.step import TrainingStep

STEPS = 8
"""The steps in a row that are timed."""
ROUNDS, SECONDS = 7, 2.0
"""Rounds in which both ways take turns, at most for so many seconds, after one that warms up."""
SETTING = "VAEZOO_PACKS"
SEEDS, ALONE, TOGETHER = "seeds", "alone", "together"

Prepared = tuple[LatentModel, Objective, Dataset, TrainingOptions]
"""What a training is made of."""


def given() -> str:
    """What VAEZOO_PACKS is, or nothing. VaezooError where it is no way."""
    return setting(SETTING, (TOGETHER, ALONE))


def why_alone(
    tasks: Sequence[Task], device: str, prepared: Callable[[Sequence[Task]], Sequence[Prepared]]
) -> str | None:
    """Why these seeds train one by one, or None where they train together: on CUDA, and on a CPU where that is faster.

    It is measured once a machine, for what a step depends on, the number of seeds and the threads, and kept; where
    nothing can be kept, they train one by one. VAEZOO_PACKS = together or alone sets it. prepared: makes what tasks
    train. None too where the seeds cannot be packed: whoever packs them says why.
    """
    if (way := given()) or torch.device(device).type != "cpu":
        return f"{SETTING} is {ALONE}" if way == ALONE else None
    key = tasks[0].cell.specification.timed_on(device, torch.get_num_threads()).key
    ways, measure = {SEEDS: (ALONE, TOGETHER)}, partial(measured, tasks, prepared)
    try:
        choice = measured_once("packs", f"{len(tasks)} seeds of {key}", ways, measure)
    except Exception:  # a plugin's own, or NotPacked
        return None
    return None if choice[SEEDS] == TOGETHER else "that is faster on this machine"


def measured(tasks: Sequence[Task], prepared: Callable[[Sequence[Task]], Sequence[Prepared]]) -> Times:
    """The least seconds that a step of all seeds takes, one by one and together."""
    seeds = [task.cell.seed or 0 for task in tasks]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VaezooWarning)  # the training warns
        [(model, objective, dataset, options)] = prepared(tasks[:1])
        models, objectives, *_ = zip(*prepared(tasks), strict=True)
        steps = {
            ALONE: make_step(model, objective, dataset, options, seeds[0]),
            TOGETHER: make_packed_step(models, objectives, dataset, options, seeds),
        }
        own = {ALONE: seeds[:1], TOGETHER: seeds}
        taken = {way: orders(step, len(dataset.train), options.batch_size, own[way]) for way, step in steps.items()}
        times: dict[str, float] = {}
        end = time.perf_counter() + SECONDS
        for number in range(ROUNDS + 1):
            for way, step in steps.items():
                seconds = seconds_of(way, step, taken[way]) * len(seeds) / len(own[way])
                if number:
                    times[way] = min(seconds, times.get(way, seconds))
            if number and time.perf_counter() > end:
                break
    return {SEEDS: times}


def seconds_of(way: str, step: TrainingStep, order: Tensor) -> float:
    """How long a step takes, of several in a row. way: for a test that gives other times."""
    count = min(STEPS, len(order))
    if step.left < count:
        step.start_epoch(order)
    start = time.perf_counter()
    for _ in range(count):
        heartbeat.beat()
        step()
    return (time.perf_counter() - start) / count
