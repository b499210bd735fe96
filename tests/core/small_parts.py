"""Small parts to register and models to build of them; what a test registers is forgotten after it."""

import math

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo import DiagonalGaussian, Posterior, Prior
from vaezoo.builder import build
from vaezoo.registry import SLOTS, registry


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a test registers is forgotten after it."""
    for slot in SLOTS:
        names = registry(slot)
        len(names)
        monkeypatch.setattr(names, "_plugins", dict(names._plugins))


def dataset(measure="binary", shape=(1, 4, 4), levels=None, n=30, context=None):
    """context: the length of each image's context, or None for images without one."""
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)).round()
    split = x if context is None else (x, None, torch.ones(n, context))
    return vaezoo.Dataset(split, split, split, measure=measure, levels=levels)


def built(variant="vae", data=None, **overrides):
    return build(variant, data or dataset(), latent=3, hidden=(5,), overrides=overrides)


class NormalPrior(Prior):
    """A right prior to make wrong ones from."""

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        return -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)

    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent)


class NotGaussian:
    """q(z|x) that is a Gaussian and does not say so."""

    gaussian = None

    def __init__(self, q):
        self.q = q

    def rsample_and_log_prob(self, samples):
        return self.q.rsample_and_log_prob(samples)

    def log_prob(self, z):
        return self.q.log_prob(z)


class NotGaussianPosterior(Posterior):
    """Gives NotGaussian."""

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Linear(math.prod(features), 2 * latent)

    def forward(self, features):
        return NotGaussian(DiagonalGaussian(*self.heads(features.flatten(1)).chunk(2, -1)))
