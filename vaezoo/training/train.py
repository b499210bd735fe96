"""A run of training: epochs of steps, the best epoch kept by validation, divergence caught."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.core.estimate import log_likelihood
from vaezoo.core.model import LatentModel
from vaezoo.training.step import Trainee, TrainingStep

VALIDATION_SAMPLES = 64
"""K of the validation iwll, the same for every variant: choosing the epoch by ELBO would cost an importance-weighted
model nats.
"""


class Diverged(Exception):
    """The objective was not finite; the message says at which step."""


@dataclass(frozen=True)
class Settings:
    """How to train. epochs, batch_size; learning_rate with its schedule; kl_warmup in epochs; gradient_clip, the
    largest L2 norm of the whole gradient; patience, epochs without a better one before stopping; validation_images, how
    many of them choose the epoch.
    """

    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: str = "constant"
    kl_warmup: float = 0.0
    gradient_clip: float | None = None
    patience: int | None = None
    validation_images: int | None = None


@dataclass
class Progress:
    """One epoch's report: objective is the training mean in nats an image; seconds are those spent in training steps so
    far.
    """

    epoch: int
    epochs: int
    objective: float
    validation_iwll: float
    seconds: float


@dataclass
class Outcome:
    """What training gave: the model stands at `best_epoch`, counted from 1."""

    best_epoch: int
    best_iwll: float
    seconds: float
    history: list[Progress] = field(default_factory=list)


def epoch_order(images: int, batch_size: int, seed: int, epoch: int) -> Tensor:
    """The images of each step of an epoch, full batches only, from the seed's axis "order". [steps, B] int64"""
    batch = min(batch_size, images)
    generator = torch.Generator().manual_seed(noise.derive(seed, "order", epoch))
    return torch.randperm(images, generator=generator)[: images // batch * batch].view(-1, batch)


def make_step(
    model: LatentModel, objective: Objective, dataset: Dataset, settings: Settings, seed: int
) -> TrainingStep:
    """The training step of a model on a dataset's training images, all on the model's device."""
    batch = min(settings.batch_size, len(dataset.train))
    return TrainingStep(
        Trainee(model, objective.to(model.device), dataset.train.dynamic),
        dataset.train.to(model.device),
        epochs=settings.epochs,
        steps_per_epoch=len(dataset.train) // batch,
        learning_rate=settings.learning_rate,
        schedule=settings.schedule,
        kl_warmup=settings.kl_warmup,
        gradient_clip=settings.gradient_clip,
        seed=seed,
    )


def train(
    model: LatentModel,
    objective: Objective,
    dataset: Dataset,
    settings: Settings,
    *,
    seed: int = 0,
    report: Callable[[Progress], Any] | None = None,
) -> Outcome:
    """Train in place and leave the model at the epoch of the best validation iwll (K = 64, fixed noise) after any
    warm-up.

    Where the warm-up outlasts the epochs, the last epoch is kept. Raises Diverged with the step at which the objective
    was not finite, or the validation iwll.
    """
    if settings.epochs < 1 or settings.batch_size < 1:
        raise VaezooError(f"epochs and batch_size must be 1 or more, got {settings.epochs} and {settings.batch_size}")
    step = make_step(model, objective, dataset, settings, seed)
    valid = dataset.valid.x[: settings.validation_images]
    outcome, best = Outcome(0, -math.inf, 0.0), None
    for epoch in range(1, settings.epochs + 1):
        started = time.perf_counter()
        value = _epoch(step, epoch_order(len(dataset.train), settings.batch_size, seed, epoch), epoch)
        outcome.seconds += time.perf_counter() - started
        score = float(log_likelihood(model, valid, VALIDATION_SAMPLES, seed=0).estimate.mean())
        if not math.isfinite(score):
            raise Diverged(f"validation iwll is {score} after step {epoch * len(step.values)} (epoch {epoch})")
        outcome.history.append(Progress(epoch, settings.epochs, value, score, outcome.seconds))
        if report is not None:
            report(outcome.history[-1])
        if epoch <= settings.kl_warmup and epoch < settings.epochs:
            continue
        if score > outcome.best_iwll:
            outcome.best_epoch, outcome.best_iwll = epoch, score
            best = copy.deepcopy(model.state_dict())
        elif settings.patience is not None and epoch - outcome.best_epoch >= settings.patience:
            break
    if best is not None:
        model.load_state_dict(best)
    return outcome


def _epoch(step: TrainingStep, order: Tensor, epoch: int) -> float:
    """One epoch; the mean of its objective. The device is waited for once, here."""
    step.trainee.train()
    step.restart()
    for index in order.to(step.device):
        step(index)
    values = step.values.cpu()
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        number = (epoch - 1) * len(values) + int(bad[0]) + 1
        raise Diverged(f"the objective is {float(values[bad[0]])} at step {number} (epoch {epoch})")
    return float(values.mean())
