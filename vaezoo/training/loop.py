"""A training run: epochs of steps; validation picks the best epoch; divergence ends the run."""

import copy
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.core import heartbeat, noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.core.model import LatentModel
from vaezoo.training.checkpoint import Checkpoint
from vaezoo.training.first_layer import lay_back, lay_out_first_layer
from vaezoo.training.module import TrainingModule
from vaezoo.training.options import TrainingOptions
from vaezoo.training.pack import Pack, disagreement, slower
from vaezoo.training.replay.comparison import ReplayDiffers
from vaezoo.training.replay.rule import replay_rule
from vaezoo.training.seed_run import Diverged, EpochResult, SeedRun, TrainingResult
from vaezoo.training.state import Place
from vaezoo.training.step import TrainingStep
from vaezoo.training.stream import on_device


class NotPacked(Exception):
    """These seeds cannot train together; the message says why. No weight has changed."""


def epoch_order(images: int, batch_size: int, seed: int, epoch: int) -> Tensor:
    """The images of each step of an epoch, full batches only, from the seed's axis "order". [steps, B] int64"""
    batch = min(batch_size, images)
    generator = torch.Generator().manual_seed(noise.derive(seed, "order", epoch))
    return torch.randperm(images, generator=generator)[: images // batch * batch].view(-1, batch)


def packed_order(images: int, batch_size: int, seeds: Sequence[int], epoch: int) -> Tensor:
    """`epoch_order` of each seed of a pack. [steps, S, B] int64"""
    return torch.stack([epoch_order(images, batch_size, seed, epoch) for seed in seeds], 1)


def make_step(
    model: LatentModel,
    objective: Objective,
    dataset: Dataset,
    options: TrainingOptions,
    seed: int,
    *,
    eager: bool = False,
    seen_by: Any = None,
) -> TrainingStep:
    """The training step of a model on a dataset's training images, all on the model's device. eager: never replayed.
    seen_by: what is called as the model trains. `lay_back(model)` undoes what is laid out for the step.
    """
    module = _training_module(model, objective, dataset, options, seen_by)
    return TrainingStep(module, on_device(dataset.train, model.device), options, seed=seed, eager=eager)


def make_packed_step(
    models: Sequence[LatentModel],
    objectives: Sequence[Objective],
    dataset: Dataset,
    options: TrainingOptions,
    seeds: Sequence[int],
    *,
    eager: bool = False,
    seen_by: Any = None,
) -> TrainingStep:
    """The training step of several seeds of one variant at once; the models' weights become views of the pack's.

    eager, seen_by: as for `make_step`. Raises NotPacked where the first step of a seed would not be that of its single
    run.
    """
    pairs = zip(models, objectives, strict=True)
    pack = Pack([_training_module(*pair, dataset, options, seen_by) for pair in pairs])
    step = TrainingStep(pack, on_device(dataset.train, pack.model.device), options, seed=seeds, eager=eager)
    step.start_epoch(packed_order(len(dataset.train), options.batch_size, seeds, 1))
    if reason := disagreement(pack, *step.inputs()):
        raise NotPacked(reason)
    return step


def _training_module(
    model: LatentModel, objective: Objective, dataset: Dataset, options: TrainingOptions, seen_by: Any
) -> TrainingModule:
    module = TrainingModule(model, objective.to(model.device), dataset.train.dynamic)
    lay_out_first_layer(module, dataset.train, compiled=options.compile, seen_by=seen_by)
    return module


def train(
    model: LatentModel,
    objective: Objective,
    dataset: Dataset,
    options: TrainingOptions,
    *,
    seed: int = 0,
    report: Callable[[EpochResult], Any] | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainingResult:
    """Train in place, and leave the model with the weights of the best validation iwll (fixed noise, see
    `vaezoo.training.validation`) after any warm-up and annealing.

    Where these outlast the epochs, the last epoch is kept. report: gets each epoch's result. checkpoint: where the
    training writes its state now and then, and from which it goes on where it was interrupted; the model and objective
    are given as before training. Raises Diverged with the step at which the objective was not finite, or with the epoch
    at which the validation iwll was not; Interrupted where the checkpoint's clock was told to stop.
    """
    _check(options)
    images = len(dataset.train)

    def attempt(eager: bool) -> list[SeedRun]:
        """Train from the weights as they are."""
        tell = None if report is None else lambda _, result: report(result)
        run = SeedRun(model, objective, dataset, options, tell, seed, 0)
        if checkpoint is not None and checkpoint.restore_trained([run]):
            return [run]
        step = make_step(model, objective, dataset, options, seed, eager=eager, seen_by=report)
        order_of = partial(epoch_order, images, options.batch_size, seed)
        with nullcontext() if checkpoint is None else checkpoint.clock.polled():
            _train_epochs([run], step, options, order_of, checkpoint)
        return [run]

    try:
        [run] = _again_where_replays_differ(attempt, [model], [objective], checkpoint)
        result = run.result()
        if checkpoint is not None:
            checkpoint.keep_trained([run])
    finally:
        lay_back(model)
    return result


def train_pack(
    models: Sequence[LatentModel],
    objectives: Sequence[Objective],
    dataset: Dataset,
    options: TrainingOptions,
    *,
    seeds: Sequence[int],
    report: Callable[[int, EpochResult], Any] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[TrainingResult | Diverged]:
    """Train several seeds of one variant together. Each trains as in `train`, up to the order of floating-point sums.

    A seed that diverges does not disturb the others; its place in the list holds a Diverged. report: gets the seed's
    place in the pack and each epoch's result. checkpoint: as in `train`. Raises NotPacked before anything has changed,
    also where the seeds train faster one by one; Interrupted as `train` does.
    """
    _check(options)
    if reason := slower(models[0], objectives[0], models[0].device):
        raise NotPacked(reason)
    images = len(dataset.train)

    def attempt(eager: bool) -> list[SeedRun]:
        """Train from the weights as they are."""
        each = enumerate(zip(models, objectives, seeds, strict=True))
        runs = [SeedRun(model, own, dataset, options, report, seed, place) for place, (model, own, seed) in each]
        if checkpoint is not None and checkpoint.restore_trained(runs):
            return runs
        step = make_packed_step(models, objectives, dataset, options, seeds, eager=eager, seen_by=report)
        order_of = partial(packed_order, images, options.batch_size, seeds)
        with nullcontext() if checkpoint is None else checkpoint.clock.polled():
            _train_epochs(runs, step, options, order_of, checkpoint)
        return runs

    try:
        runs = _again_where_replays_differ(attempt, models, objectives, checkpoint)
        outcomes = [run.failure or run.result() for run in runs]
        if checkpoint is not None:
            checkpoint.keep_trained(runs)
    finally:
        for model in models:
            lay_back(model)
    return outcomes


def _again_where_replays_differ(
    attempt: Callable[[bool], list[SeedRun]],
    models: Sequence[LatentModel],
    objectives: Sequence[Objective],
    checkpoint: Checkpoint | None,
) -> list[SeedRun]:
    """Train. Where replays of code from outside turn out to differ from the eager step, restore all modules to their
    state before training and train again eagerly, with a warning.
    """
    modules: list[nn.Module] = [*models, *objectives]
    if checkpoint is not None:
        checkpoint.open(modules)
    if not replay_rule(models[0], objectives[0]).watched:
        return attempt(False)
    if checkpoint is not None and checkpoint.again is not None:
        warnings.warn(checkpoint.again, VaezooWarning, stacklevel=3)
        return attempt(True)
    try:
        initial = copy.deepcopy(modules)
    except Exception as error:  # a plugin may hold anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"runs eagerly: the model cannot be copied ({reason})", VaezooWarning, stacklevel=3)
        return attempt(True)
    try:
        return attempt(False)
    except ReplayDiffers as error:
        again = f"trained again, eagerly: {error}"
    warnings.warn(again, VaezooWarning, stacklevel=3)
    if checkpoint is not None:
        checkpoint.again = again
    for module, kept in zip(modules, initial, strict=True):
        module.__dict__ = kept.__dict__
    return attempt(True)


def _check(options: TrainingOptions) -> None:
    if options.epochs < 1 or options.batch_size < 1:
        raise VaezooError(f"epochs and batch_size must be 1 or more, got {options.epochs} and {options.batch_size}")


def _train_epochs(
    runs: Sequence[SeedRun],
    step: TrainingStep,
    options: TrainingOptions,
    order_of: Callable[[int], Tensor],
    checkpoint: Checkpoint | None,
) -> None:
    """Train until the last epoch, or until every seed's run has ended. order_of: epoch -> the order of its images."""
    step.module.train()
    start = Place() if checkpoint is None else checkpoint.restore(step, runs)
    seconds = start.seconds
    for epoch in range(start.epoch, options.epochs + 1):
        started = time.perf_counter()
        step.module.train()
        step.start_epoch(order_of(epoch))
        if epoch == start.epoch and start.values is not None:
            step.go_to(start.values)
        for _ in range(step.left):
            heartbeat.beat()
            if checkpoint is None or not checkpoint.clock.is_due():
                step()
            else:
                step(compared=True)
                started += _keep(checkpoint, step, runs, epoch, seconds, started)
        if checkpoint is not None and checkpoint.clock.stop_requested:
            _keep(checkpoint, step, runs, epoch, seconds, started)
        values = step.values.cpu()  # waits for the device, as nothing before it does
        seconds += (time.perf_counter() - started) / len(runs)
        for run, objectives in zip(runs, values.view(len(values), -1).T, strict=True):
            if not run.ended:
                run.finish_epoch(epoch, objectives, seconds)
        heartbeat.tell(epoch=epoch)
        if all(run.ended for run in runs):
            return


def _keep(
    checkpoint: Checkpoint,
    step: TrainingStep,
    runs: Sequence[SeedRun],
    epoch: int,
    seconds: float,
    started: float,
) -> float:
    """Write a checkpoint within an epoch; the seconds that it took, which are not those of training."""
    step.values.cpu()  # waits for the device
    now = time.perf_counter()
    checkpoint.keep(step, runs, epoch, seconds + (now - started) / len(runs))
    return time.perf_counter() - now
