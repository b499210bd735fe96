"""Speeds of the training step, the estimator and the sampler that cells use.

Each is timed after a warm-up, and the clock is read after the device has finished.
"""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset, Split
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.blocks import now
from vaezoo.evaluation.estimate import evaluating, log_likelihood
from vaezoo.training.loop import epoch_order, make_step
from vaezoo.training.options import TrainingOptions
from vaezoo.training.step import TrainingStep

ROUNDS = 7
ROUND_SECONDS = 0.15
STEPS = 50
"""Training steps in one timed piece of work."""
IMAGES, SAMPLES = 100, 250
"""Images, and importance samples of each, in one timed estimate."""
DRAWN = 1000
"""Images that are sampled in one call."""
DRAWN_BY_PIXEL = 8
"""The same of an autoregressive decoder, which runs once for each pixel."""

Work = Callable[[], int]
"""Does a piece of work and returns how many items it processed."""


def rate(work: Work, device: torch.device) -> tuple[float, float, float]:
    """Items a second of `work`: median, lower and upper quartile of ROUNDS rounds.

    The first call warms up and is not timed. A round repeats `work` until at least ROUND_SECONDS have passed.
    """
    work()
    rates = []
    for _ in range(ROUNDS):
        items, started = 0, now(device)
        while (seconds := now(device) - started) < ROUND_SECONDS:
            items += work()
        rates.append(items / seconds)
    low, median, high = statistics.quantiles(rates, n=4)
    return median, low, high


def orders(step: TrainingStep, images: int, batch_size: int, seeds: list[int]) -> Tensor:
    """The images of the first STEPS steps of an epoch, on the step's device. [steps, B]; for a pack [steps, S, B]"""
    each = [epoch_order(images, batch_size, seed, 1)[:STEPS] for seed in seeds]
    return torch.stack(each, 1).view(len(each[0]), *step.key.shape, -1).to(step.device)


def training(step: TrainingStep, order: Tensor) -> Work:
    """The training steps of this order; the items are images."""

    def work() -> int:
        """Some steps of an epoch."""
        step.module.train()
        step.start_epoch(order)
        for _ in range(len(order)):
            step()
        return order.numel()

    return work


def first_contexts(model: LatentModel, split: Split, count: int) -> Tensor | None:
    """The contexts of the first images of a split, repeated to this many, where the model is conditional. [count, C]"""
    if split.context is None or not model.conditional:
        return None
    return split.context[torch.arange(count) % len(split)]


def estimating(
    model: LatentModel, images: Tensor, importance_samples: int = SAMPLES, context: Tensor | None = None
) -> Work:
    """The importance-weighted estimate of these images; the items are images x samples. context: of the images, for a
    conditional model.
    """

    def work() -> int:
        """Run one estimate."""
        log_likelihood(model, images, importance_samples, context=context)
        return importance_samples * len(images)

    return work


def sampling(model: LatentModel, context: Tensor | None = None) -> Work:
    """Sampling from the model; the items are images. context: DRAWN of them, for a conditional model."""
    count = DRAWN_BY_PIXEL if model.decoder.autoregressive else DRAWN

    def work() -> int:
        """Draw the images from p(x|z) p(z)."""
        with evaluating(model), noise.stream(0, device=model.device, dtype=model.dtype):
            model.sample(count, None if context is None else context[:count])
        return count

    return work


def measure_speeds(
    model: LatentModel, objective: Objective, dataset: Dataset, options: TrainingOptions
) -> dict[str, float]:
    """Training images, importance-weighted images x samples and sampled images a second, each with its quartiles."""
    device = model.device
    step = make_step(model, objective, dataset, options, seed=0)
    images = dataset.test.x[:IMAGES]
    seen = first_contexts(model, dataset.test, len(images))
    works = {
        "train_images_per_second": training(step, orders(step, len(dataset.train), options.batch_size, [0])),
        "iwll_samples_per_second": estimating(model, images, context=seen),
        "sample_images_per_second": sampling(model, first_contexts(model, dataset.test, DRAWN)),
    }
    results: dict[str, float] = {}
    for column, work in works.items():
        try:
            median, low, high = rate(work, device)
        except NotImplementedError:  # a likelihood without `sample` leaves its column empty
            continue
        results |= {column: median, f"{column}_low": low, f"{column}_high": high}
    return results
