"""A training run: epochs of steps; validation picks the best epoch; divergence ends the run."""

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.training.module import TrainingModule, parts_of
from vaezoo.training.options import TrainingOptions
from vaezoo.training.pack import Pack, disagreement
from vaezoo.training.replay.comparison import ReplayDiffers
from vaezoo.training.replay.rule import replay_rule
from vaezoo.training.step import TrainingStep
from vaezoo.training.updates import described, refit

VALIDATION_SAMPLES = 64
"""K of the validation iwll, the same for every variant. (Choosing the epoch by ELBO would cost an importance-weighted
model nats.)
"""


class Diverged(Exception):
    """The objective was not finite; the message says at which step."""


class NotPacked(Exception):
    """These seeds cannot train together; the message says why. No weight has changed."""


@dataclass
class EpochResult:
    """One epoch of one seed.

    objective: its mean over the training images, in nats an image. validation_iwll: in nats an image. seconds: time in
    training steps and `refit` so far; in a pack, each seed's equal share of it.
    """

    epoch: int
    epochs: int
    objective: float
    validation_iwll: float
    seconds: float


@dataclass
class TrainingResult:
    """The result of training. The model has the weights of `best_epoch`, counted from 1."""

    best_epoch: int
    best_iwll: float
    seconds: float
    history: list[EpochResult] = field(default_factory=list)


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
) -> TrainingStep:
    """The training step of a model on a dataset's training images, all on the model's device. eager: never replayed."""
    module = _training_module(model, objective, dataset)
    return TrainingStep(module, dataset.train.to(model.device), options, seed=seed, eager=eager)


def make_packed_step(
    models: Sequence[LatentModel],
    objectives: Sequence[Objective],
    dataset: Dataset,
    options: TrainingOptions,
    seeds: Sequence[int],
    *,
    eager: bool = False,
) -> TrainingStep:
    """The training step of several seeds of one variant at once; the models' weights become views of the pack's.

    eager: never replayed. Raises NotPacked where the first step of a seed would not be that of its single run.
    """
    pack = Pack([_training_module(*pair, dataset) for pair in zip(models, objectives, strict=True)])
    step = TrainingStep(pack, dataset.train.to(pack.model.device), options, seed=seeds, eager=eager)
    step.start_epoch(packed_order(len(dataset.train), options.batch_size, seeds, 1))
    if reason := disagreement(pack, *step.inputs()):
        raise NotPacked(reason)
    return step


def _training_module(model: LatentModel, objective: Objective, dataset: Dataset) -> TrainingModule:
    return TrainingModule(model, objective.to(model.device), dataset.train.dynamic)


def train(
    model: LatentModel,
    objective: Objective,
    dataset: Dataset,
    options: TrainingOptions,
    *,
    seed: int = 0,
    report: Callable[[EpochResult], Any] | None = None,
) -> TrainingResult:
    """Train in place, and leave the model with the weights of the best validation iwll (K = 64, fixed noise) after any
    warm-up and annealing.

    Where these outlast the epochs, the last epoch is kept. report: gets each epoch's result. Raises Diverged
    with the step at which the objective was not finite, or with the epoch at which the validation iwll was not.
    """
    _check(options)
    images = len(dataset.train)

    def attempt(eager: bool) -> list[_SeedRun]:
        """Train from the weights as they are."""
        tell = None if report is None else lambda _, result: report(result)
        run = _SeedRun(model, objective, dataset, options, tell, seed, 0)
        step = make_step(model, objective, dataset, options, seed, eager=eager)
        _train_epochs([run], step, options, lambda epoch: epoch_order(images, options.batch_size, seed, epoch))
        return [run]

    [run] = _again_where_replays_differ(attempt, [model], [objective])
    return run.result()


def train_pack(
    models: Sequence[LatentModel],
    objectives: Sequence[Objective],
    dataset: Dataset,
    options: TrainingOptions,
    *,
    seeds: Sequence[int],
    report: Callable[[int, EpochResult], Any] | None = None,
) -> list[TrainingResult | Diverged]:
    """Train several seeds of one variant together. Each trains as in `train`, up to the order of floating-point sums.

    A seed that diverges does not disturb the others; its place in the list holds a Diverged. report: gets the seed's
    place in the pack and each epoch's result. Raises NotPacked before anything has changed.
    """
    _check(options)
    images = len(dataset.train)

    def attempt(eager: bool) -> list[_SeedRun]:
        """Train from the weights as they are."""
        each = enumerate(zip(models, objectives, seeds, strict=True))
        runs = [_SeedRun(model, own, dataset, options, report, seed, place) for place, (model, own, seed) in each]
        step = make_packed_step(models, objectives, dataset, options, seeds, eager=eager)
        _train_epochs(runs, step, options, lambda epoch: packed_order(images, options.batch_size, seeds, epoch))
        return runs

    runs = _again_where_replays_differ(attempt, models, objectives)
    return [run.failure or run.result() for run in runs]


def _again_where_replays_differ(
    attempt: Callable[[bool], list["_SeedRun"]], models: Sequence[LatentModel], objectives: Sequence[Objective]
) -> list["_SeedRun"]:
    """Train. Where replays of code from outside turn out to differ from the eager step, restore all modules to their
    state before training and train again eagerly, with a warning.
    """
    modules: list[nn.Module] = [*models, *objectives]
    if not replay_rule(models[0], objectives[0]).watched:
        return attempt(False)
    try:
        initial = copy.deepcopy(modules)
    except Exception as error:  # a plugin may hold anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"runs eagerly: the model cannot be copied ({reason})", VaezooWarning, stacklevel=3)
        return attempt(True)
    try:
        return attempt(False)
    except ReplayDiffers as error:
        warnings.warn(f"trained again, eagerly: {error}", VaezooWarning, stacklevel=3)
    for module, kept in zip(modules, initial, strict=True):
        module.__dict__ = kept.__dict__
    return attempt(True)


def _check(options: TrainingOptions) -> None:
    if options.epochs < 1 or options.batch_size < 1:
        raise VaezooError(f"epochs and batch_size must be 1 or more, got {options.epochs} and {options.batch_size}")


def _train_epochs(
    runs: list["_SeedRun"],
    step: TrainingStep,
    options: TrainingOptions,
    order_of: Callable[[int], Tensor],
) -> None:
    """Train until the last epoch, or until every seed's run has ended. order_of: epoch -> the order of its images."""
    seconds = 0.0
    for epoch in range(1, options.epochs + 1):
        started = time.perf_counter()
        values = _train_epoch(step, order_of(epoch))
        seconds += (time.perf_counter() - started) / len(runs)
        for run, objectives in zip(runs, values.view(len(values), -1).T, strict=True):
            if not run.ended:
                run.finish_epoch(epoch, objectives, seconds)
        if all(run.ended for run in runs):
            return


def _train_epoch(step: TrainingStep, order: Tensor) -> Tensor:
    """Train for one epoch; the objective of each step. Only the last line waits for the device."""
    step.module.train()
    step.start_epoch(order)
    for _ in range(len(order)):
        step()
    return step.values.cpu()


def annealing_epochs(parts: Iterable[nn.Module], options: TrainingOptions) -> float:
    """The epochs after which neither the KL's weight nor any part that declares `annealed_until` changes."""
    ends = [options.kl_warmup]
    for part in parts:
        fraction = getattr(part, "annealed_until", 0.0)
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction <= 1:
            raise VaezooError(
                f"annealed_until of {described(type(part))} must be a fraction of training in 0..1, got {fraction!r}"
            )
        ends.append(round(fraction * options.epochs, 9))  # 0.29 of 100 epochs is 29, not 28.999999999999996
    return max(ends)


class _SeedRun:
    """The run of one seed: its history, its best weights, whether it has ended, and how it failed."""

    def __init__(
        self,
        model: LatentModel,
        objective: Objective,
        dataset: Dataset,
        options: TrainingOptions,
        report: Callable[[int, EpochResult], Any] | None,
        seed: int,
        place: int,
    ):
        self.model, self.dataset, self.options = model, dataset, options
        self.report, self.seed, self.place = report, seed, place
        self.parts = parts_of(model, objective)
        self.annealing = annealing_epochs(self.parts.values(), options)
        self.refit_seconds = 0.0
        self.training = TrainingResult(0, -math.inf, 0.0)
        self.best_weights: dict[str, Tensor] | None = None
        self.failure: Diverged | None = None
        self.ended = False

    def finish_epoch(self, epoch: int, objectives: Tensor, seconds: float) -> None:
        """Refit and validate after an epoch, report it, and keep its weights where they are the best.

        objectives: the objective of each step, [steps]. seconds: in training so far.
        """
        bad = (~objectives.isfinite()).nonzero()
        if len(bad):
            number = (epoch - 1) * len(objectives) + int(bad[0]) + 1
            return self._fail(f"the objective is {float(objectives[bad[0]])} at step {number} (epoch {epoch})")
        training, options = self.training, self.options
        started = time.perf_counter()
        refit(self.model, self.parts, self.dataset.train, seed=self.seed, epoch=epoch)
        self.refit_seconds += time.perf_counter() - started
        seconds += self.refit_seconds
        valid = self.dataset.valid.rows(slice(options.validation_images))
        context = valid.context if self.model.conditional else None
        score = float(log_likelihood(self.model, valid.x, VALIDATION_SAMPLES, seed=0, context=context).estimate.mean())
        if not math.isfinite(score):
            return self._fail(f"validation iwll is {score} after step {epoch * len(objectives)} (epoch {epoch})")
        training.seconds = seconds
        training.history.append(EpochResult(epoch, options.epochs, float(objectives.mean()), score, seconds))
        if self.report is not None:
            self.report(self.place, training.history[-1])
        if epoch <= self.annealing and epoch < options.epochs:
            return None
        if score > training.best_iwll:
            training.best_epoch, training.best_iwll = epoch, score
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        elif options.patience is not None and epoch - training.best_epoch >= options.patience:
            self.ended = True
        return None

    def _fail(self, reason: str) -> None:
        self.failure, self.ended = Diverged(reason), True

    def result(self) -> TrainingResult:
        """The result, with the model's weights set to those of the best epoch. Raises Diverged where it diverged."""
        if self.failure is not None:
            raise self.failure
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        return self.training
