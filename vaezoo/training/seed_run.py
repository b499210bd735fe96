"""The run of one seed: its history, its best epoch, and how it ends."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError, described
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import quick_look
from vaezoo.training.module import parts_of
from vaezoo.training.options import TrainingOptions
from vaezoo.training.updates import refit
from vaezoo.training.validation import validation_of


class Diverged(Exception):
    """The objective was not finite; the message says at which step."""


@dataclass
class EpochResult:
    """One epoch of one seed.

    objective: its mean over the training images, in nats an image. validation_iwll: in nats an image; None after an
    epoch without validation. seconds: time in training steps and `refit` so far; in a pack, each seed's equal share of
    it.
    """

    epoch: int
    epochs: int
    objective: float
    validation_iwll: float | None
    seconds: float


@dataclass
class TrainingResult:
    """The result of training. The model has the weights of `best_epoch`, counted from 1.

    seconds: in training steps and `refit`. validation: with how many images and samples the epoch was chosen.
    validation_seconds: in validation, in this process.
    """

    best_epoch: int
    best_iwll: float
    seconds: float
    validation: dict[str, int] = field(default_factory=dict)
    validation_seconds: float = 0.0
    history: list[EpochResult] = field(default_factory=list)


def annealing_epochs(parts: Iterable[nn.Module], options: TrainingOptions) -> float:
    """The epochs after which neither the KL's weight nor any part that declares `annealed_until` changes."""
    ends = [options.kl_annealed_after]
    for part in parts:
        fraction = getattr(part, "annealed_until", 0.0)
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction <= 1:
            raise VaezooError(
                f"annealed_until of {described(type(part))} must be a fraction of training in 0..1, got {fraction!r}"
            )
        ends.append(round(fraction * options.epochs, 9))  # 0.29 of 100 epochs is 29, not 28.999999999999996
    return max(ends)


class SeedRun:
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
        self.validation = validation_of(options, len(dataset.train), len(dataset.valid), self.annealing)
        self.refit_seconds = 0.0
        chosen_with = {"images": self.validation.images, "samples": self.validation.samples}
        self.training = TrainingResult(0, -math.inf, 0.0, chosen_with)
        self.best_weights: dict[str, Tensor] | None = None
        self.failure: Diverged | None = None
        self.ended = False

    def finish_epoch(self, epoch: int, objectives: Tensor, seconds: float) -> None:
        """Refit after an epoch, validate where it is one of those to choose from, report it, and keep its weights where
        they are the best.

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
        score = self._validated() if epoch in self.validation.epochs else None
        if score is not None and not math.isfinite(score):
            return self._fail(f"validation iwll is {score} after step {epoch * len(objectives)} (epoch {epoch})")
        training.seconds = seconds
        training.history.append(EpochResult(epoch, options.epochs, float(objectives.mean()), score, seconds))
        if self.report is not None:
            self.report(self.place, training.history[-1])
        if score is None or (epoch <= self.annealing and epoch < options.epochs):
            return None
        if score > training.best_iwll:
            training.best_epoch, training.best_iwll = epoch, score
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        elif options.patience is not None and epoch - training.best_epoch >= options.patience:
            self.ended = True
        return None

    def _validated(self) -> float:
        """The mean iwll of the validation images, in nats an image."""
        started = time.perf_counter()
        valid = self.dataset.valid.rows(slice(self.validation.images))
        context = valid.context if self.model.conditional else None
        score = float(quick_look(self.model, valid.x, self.validation.samples, context).estimate.mean())
        self.training.validation_seconds += time.perf_counter() - started
        return score

    def _fail(self, reason: str) -> None:
        self.failure, self.ended = Diverged(reason), True

    def result(self) -> TrainingResult:
        """The result, with the model's weights set to those of the best epoch. Raises Diverged where it diverged."""
        if self.failure is not None:
            raise self.failure
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        return self.training
