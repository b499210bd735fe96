"""Schedules: the learning rate, the KL's weight and the progress of each step of a run, as tensors that are computed
once.

The step reads them on the device by its counter, so that a captured graph holds no fixed value.
"""

import math
from typing import get_args

import torch
from torch import Tensor

from vaezoo.core.errors import VaezooError, unknown
from vaezoo.training.options import Schedule, TrainingOptions

SCHEDULES: tuple[str, ...] = get_args(Schedule)


def learning_rates(options: TrainingOptions, steps_per_epoch: int) -> Tensor:
    """The learning rate of each step. [epochs * steps_per_epoch], float32

    `constant`; `cosine`: rate (1 + cos(pi t / T)) / 2 (Loshchilov and Hutter 2017, arXiv:1608.03983); `stages`: rate
    10^(-i/7) in stage i of 3^i epochs, eight stages being 3,280 epochs (Burda et al. 2016, arXiv:1509.00519).
    VaezooError for another schedule.
    """
    steps = torch.arange(options.epochs * steps_per_epoch, dtype=torch.float64)
    if options.schedule == "constant":
        factor = torch.ones_like(steps)
    elif options.schedule == "cosine":
        factor = 0.5 * (1 + torch.cos(math.pi * steps / len(steps)))
    elif options.schedule == "stages":
        ends = torch.tensor([(3 ** (i + 1) - 1) // 2 * steps_per_epoch for i in range(7)], dtype=torch.float64)
        factor = 10 ** (-(steps[:, None] >= ends).sum(1) / 7)
    else:
        raise VaezooError(unknown("schedule", options.schedule, SCHEDULES))
    return (options.learning_rate * factor).float()


def kl_weights(options: TrainingOptions, steps_per_epoch: int) -> Tensor:
    """The weight of the KL at each step: linear from 0 to 1 over the warm-up, then 1, in each of the cycles anew.
    [epochs * steps_per_epoch], float32

    At step t of T, with M cycles, t is counted from the cycle's start: (t mod T / M) / warm-up, at most 1. Sønderby et
    al. (2016), arXiv:1602.02282; with M = 4 and a warm-up of half a cycle Fu et al. (2019), arXiv:1903.10145.
    """
    steps = torch.arange(options.epochs * steps_per_epoch, dtype=torch.float64)
    warmup = options.kl_warmup * steps_per_epoch
    steps = (
        (steps * options.kl_cycles) % len(steps) / options.kl_cycles
    )  # the product is whole, so that no cycle is late
    return (steps / warmup).clamp(max=1).float() if warmup > 0 else torch.ones(len(steps))


def progress(options: TrainingOptions, steps_per_epoch: int) -> Tensor:
    """How far training has come at each step: linear from 0 at the first to 1 at the last.
    [epochs * steps_per_epoch], float32
    """
    steps = torch.arange(options.epochs * steps_per_epoch, dtype=torch.float64)
    return (steps / max(len(steps) - 1, 1)).float()
