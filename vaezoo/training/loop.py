"""A run of training: epochs of steps, the best epoch kept by validation, divergence caught."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.training.module import TrainingModule
from vaezoo.training.options import TrainingOptions
from vaezoo.training.pack import Pack, disagreement
from vaezoo.training.step import TrainingStep

VALIDATION_SAMPLES = 64
"""K of the validation iwll, the same for every variant: choosing the epoch by ELBO would cost an importance-weighted
model nats.
"""


class Diverged(Exception):
    """The objective was not finite; the message says at which step."""


class NotPacked(Exception):
    """These seeds cannot train together; the message says why. No weight has changed."""


@dataclass
class EpochResult:
    """One epoch's report: objective is the training mean in nats an image; seconds are those spent in training steps so
    far, of a pack each seed's equal share.
    """

    epoch: int
    epochs: int
    objective: float
    validation_iwll: float
    seconds: float


@dataclass
class TrainingResult:
    """What training gave: the model stands at `best_epoch`, counted from 1."""

    best_epoch: int
    best_iwll: float
    seconds: float
    history: list[EpochResult] = field(default_factory=list)


def epoch_order(images: int, batch_size: int, seed: int, epoch: int) -> Tensor:
    """The images of each step of an epoch, full batches only, from the seed's axis "order". [steps, B] int64"""
    batch = min(batch_size, images)
    generator = torch.Generator().manual_seed(noise.derive(seed, "order", epoch))
    return torch.randperm(images, generator=generator)[: images // batch * batch].view(-1, batch)


def make_step(
    model: LatentModel, objective: Objective, dataset: Dataset, options: TrainingOptions, seed: int
) -> TrainingStep:
    """The training step of a model on a dataset's training images, all on the model's device."""
    return _step_of(_training_module(model, objective, dataset), dataset, options, seed)


def make_packed_step(
    models: Sequence[LatentModel],
    objectives: Sequence[Objective],
    dataset: Dataset,
    options: TrainingOptions,
    seeds: Sequence[int],
) -> TrainingStep:
    """The training step of several seeds of one variant at once; the models' weights become views of the pack's.

    Raises NotPacked where the first step of a seed would not be that of its single run.
    """
    modules = [_training_module(*pair, dataset) for pair in zip(models, objectives, strict=True)]
    pack = Pack(modules)
    step = _step_of(pack, dataset, options, seeds)
    first = torch.stack([epoch_order(len(dataset.train), options.batch_size, seed, 1)[0] for seed in seeds])
    if reason := disagreement(pack, *step.inputs(first.to(step.device))):
        raise NotPacked(reason)
    return step


def _training_module(model: LatentModel, objective: Objective, dataset: Dataset) -> TrainingModule:
    return TrainingModule(model, objective.to(model.device), dataset.train.dynamic)


def _step_of(
    module: TrainingModule | Pack, dataset: Dataset, options: TrainingOptions, seed: int | Sequence[int]
) -> TrainingStep:
    batch = min(options.batch_size, len(dataset.train))
    return TrainingStep(
        module, dataset.train.to(module.model.device), options, steps_per_epoch=len(dataset.train) // batch, seed=seed
    )


def train(
    model: LatentModel,
    objective: Objective,
    dataset: Dataset,
    options: TrainingOptions,
    *,
    seed: int = 0,
    report: Callable[[EpochResult], Any] | None = None,
) -> TrainingResult:
    """Train in place and leave the model at the epoch of the best validation iwll (K = 64, fixed noise) after any
    warm-up.

    Where the warm-up outlasts the epochs, the last epoch is kept. Raises Diverged with the step at which the objective
    was not finite, or the validation iwll.
    """
    _check(options)
    run = _Run(model, options, None if report is None else lambda _, progress: report(progress), 0)
    _epochs([run], make_step(model, objective, dataset, options, seed), dataset, options, [seed])
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
    """Train several seeds of one variant together, each as `train` would alone but for the order of floating-point
    sums; a seed that diverges does not disturb the others, and is a Diverged in the list.

    report: is given the seed's place in the pack with its progress. Raises NotPacked before anything has changed.
    """
    _check(options)
    runs = [_Run(model, options, report, place) for place, model in enumerate(models)]
    _epochs(runs, make_packed_step(models, objectives, dataset, options, seeds), dataset, options, seeds)
    return [run.failure or run.result() for run in runs]


def _check(options: TrainingOptions) -> None:
    if options.epochs < 1 or options.batch_size < 1:
        raise VaezooError(f"epochs and batch_size must be 1 or more, got {options.epochs} and {options.batch_size}")


def _epochs(
    runs: list["_Run"], step: TrainingStep, dataset: Dataset, options: TrainingOptions, seeds: Sequence[int]
) -> None:
    valid = dataset.valid.x[: options.validation_images]
    seconds = 0.0
    for epoch in range(1, options.epochs + 1):
        started = time.perf_counter()
        orders = [epoch_order(len(dataset.train), options.batch_size, seed, epoch) for seed in seeds]
        values = _epoch(step, torch.stack(orders, 1).view(len(orders[0]), *step.key.shape, -1))
        seconds += (time.perf_counter() - started) / len(runs)
        for run, own in zip(runs, values.view(len(values), -1).T, strict=True):
            if not run.ended:
                run.take(epoch, own, valid, seconds)
        if all(run.ended for run in runs):
            return


def _epoch(step: TrainingStep, order: Tensor) -> Tensor:
    """One epoch; the objective of each step. The device is waited for once, here."""
    step.module.train()
    order = order.to(step.device)
    step.restart(order)
    for index in order:
        step(index)
    return step.values.cpu()


class _Run:
    """What comes of one seed, epoch by epoch."""

    def __init__(
        self, model: LatentModel, options: TrainingOptions, report: Callable[[int, EpochResult], Any] | None, place: int
    ):
        self.model, self.options, self.report, self.place = model, options, report, place
        self.outcome = TrainingResult(0, -math.inf, 0.0)
        self.best: dict[str, Tensor] | None = None
        self.failure: Diverged | None = None
        self.ended = False

    def take(self, epoch: int, values: Tensor, valid: Tensor, seconds: float) -> None:
        """Take in an epoch: its steps' objectives and the weights that it left."""
        bad = (~values.isfinite()).nonzero()
        if len(bad):
            number = (epoch - 1) * len(values) + int(bad[0]) + 1
            return self._fail(f"the objective is {float(values[bad[0]])} at step {number} (epoch {epoch})")
        outcome, options = self.outcome, self.options
        score = float(log_likelihood(self.model, valid, VALIDATION_SAMPLES, seed=0).estimate.mean())
        if not math.isfinite(score):
            return self._fail(f"validation iwll is {score} after step {epoch * len(values)} (epoch {epoch})")
        outcome.seconds = seconds
        outcome.history.append(EpochResult(epoch, options.epochs, float(values.mean()), score, seconds))
        if self.report is not None:
            self.report(self.place, outcome.history[-1])
        if epoch <= options.kl_warmup and epoch < options.epochs:
            return None
        if score > outcome.best_iwll:
            outcome.best_epoch, outcome.best_iwll = epoch, score
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        elif options.patience is not None and epoch - outcome.best_epoch >= options.patience:
            self.ended = True
        return None

    def _fail(self, why: str) -> None:
        self.failure, self.ended = Diverged(why), True

    def result(self) -> TrainingResult:
        """The outcome, with the model at its best epoch; raises Diverged where it diverged."""
        if self.failure is not None:
            raise self.failure
        if self.best is not None:
            self.model.load_state_dict(self.best)
        return self.outcome
