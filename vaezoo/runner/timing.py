"""Speeds: the very step, estimator and sampler that cells use, timed after a warm-up, with the device waited for."""

import statistics
import time
from collections.abc import Callable

import torch

from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.estimate import evaluating, log_likelihood
from vaezoo.core.model import LatentModel
from vaezoo.runner.device import peak_memory, restart_peak_memory, synchronise
from vaezoo.training.train import Settings, epoch_order, make_step

ROUNDS = 7
ROUND_SECONDS = 0.15


def rate(work: Callable[[], int], device: torch.device) -> tuple[float, float, float]:
    """Items a second of `work`, which says how many items it did: median, lower and upper quartile of ROUNDS rounds.

    The first call warms up and is not timed; a round repeats `work` for ROUND_SECONDS at least.
    """
    work()
    synchronise(device)
    rates = []
    for _ in range(ROUNDS):
        items, started = 0, time.perf_counter()
        while time.perf_counter() - started < ROUND_SECONDS:
            items += work()
            synchronise(device)
        rates.append(items / (time.perf_counter() - started))
    low, median, high = statistics.quantiles(rates, n=4)
    return median, low, high


def measure_speeds(model: LatentModel, objective: Objective, dataset: Dataset, settings: Settings) -> dict[str, float]:
    """Training images, importance-weighted image-samples and sampled images a second, each with its quartiles, and peak
    memory.
    """
    device = model.device
    restart_peak_memory(str(device))
    step = make_step(model, objective, dataset, settings, seed=0)
    order = epoch_order(len(dataset.train), settings.batch_size, 0, 1).to(device)
    steps = min(len(order), 50)

    def training() -> int:
        """Some steps of an epoch."""
        step.trainee.train()
        step.restart()
        for index in order[:steps]:
            step(index)
        return steps * order.shape[1]

    images = dataset.test.x[:100]

    def estimating() -> int:
        """The estimator on 100 images."""
        log_likelihood(model, images, 50)
        return 50 * len(images)

    def sampling() -> int:
        """A thousand images from the prior."""
        with evaluating(model), noise.stream(0, device=device, dtype=model.dtype):
            model.sample(1000)
        return 1000

    results: dict[str, float] = {}
    columns = ("train_images_per_second", "iwll_samples_per_second", "sample_images_per_second")
    for column, work in zip(columns, (training, estimating, sampling), strict=True):
        try:
            median, low, high = rate(work, device)
        except NotImplementedError:  # a likelihood need not be able to sample; its column stays empty
            continue
        results |= {column: median, f"{column}_low": low, f"{column}_high": high}
    return {**results, "peak_memory_bytes": peak_memory(str(device))}
