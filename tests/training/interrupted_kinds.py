"""Trainings of every kind that may be interrupted: each knows how it is made, stopped and resumed."""

import functools
import math
from dataclasses import replace

import pytest
import torch
from changing_parts import WAYS
from interrupted import Training
from small_models import dataset, pair

import vaezoo
from vaezoo import Objective
from vaezoo.objectives.factor import Factor
from vaezoo.training.options import TrainingOptions

OPTIONS = TrainingOptions(epochs=4, batch_size=10, learning_rate=1e-2, validation_images=None)
STEPS = 24
"""Of a training with OPTIONS: 4 epochs of 6."""
PLACES = (1, 3, 5, 6, 9, 21, 24)
"""In the warm-up, at the recording, among replays, at the end of an epoch, in the last epoch and at its end."""


class OfOneSeed(Objective):
    """Not finite from a third of training on for a decoder whose first bias is above 0."""

    def forward(self, draws):
        first = draws.model.decoder.net[-2].bias[0].detach()
        bad = (draws.progress > 0.35) & (first > 0.5)
        return draws.log_weight.mean(0) * torch.where(bad, math.nan, 1.0)


class Random(Objective):
    """Draws from torch's own generator."""

    def forward(self, draws):
        return draws.log_weight.mean(0) * (1 + 0.1 * torch.rand(()))


def one_diverges(data, seed):
    model, _ = pair(data, seed=seed)
    with torch.no_grad():
        model.decoder.net[-2].bias[0] = 1.0 if seed == 1 else 0.0
    return model, OfOneSeed()


def with_labels():
    data = dataset()
    labels = torch.nn.functional.one_hot(torch.arange(60) % 3, 3)
    parts = [(split.x, None, labels[: len(split)]) for split in (data.train, data.valid, data.test)]
    return vaezoo.Dataset(*parts, measure="binary")


def plain(data, seed):
    return pair(data, seed=seed)


def random(data, seed):
    torch.manual_seed(seed)
    return pair(data, seed=seed)[0], Random()


def discriminating(data, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return pair(data, seed=seed)[0], Factor((2,), width=8, depth=2)


KINDS = {
    **{way: Training(make, dataset(), OPTIONS) for way, make in WAYS.items()},
    "clipped, cosine, warm-up": Training(
        plain,
        dataset(),
        replace(OPTIONS, learning_rate=3e-2, schedule="cosine", kl_warmup=1.5, gradient_clip=0.5),
    ),
    "dynamic": Training(plain, dataset(dynamic=True), OPTIONS),
    "conditional": Training(lambda data, seed: pair(data, "conditional-vae", seed), with_labels(), OPTIONS),
    "discriminator": Training(discriminating, dataset(), replace(OPTIONS, epochs=3, learning_rate=1e-3)),
    "torch's generator": Training(random, dataset(), OPTIONS),
    "packed": Training(WAYS["update"], dataset(), OPTIONS, (3, 1)),
    "packed refit": Training(WAYS["refit"], dataset(), OPTIONS, (3, 1)),
    "packed dropout": Training(WAYS["dropout"], dataset(), OPTIONS, (3, 1)),
    "packed, one diverges": Training(one_diverges, dataset(), OPTIONS, (3, 1)),
    "packed, one ends early": Training(
        plain,
        dataset(),
        replace(OPTIONS, epochs=8, learning_rate=3e-2, patience=1),
        (0, 5),
    ),
}
pytestmark = pytest.mark.filterwarnings("ignore:runs eagerly")


@functools.cache
def undisturbed(kind):
    return KINDS[kind].run()
