"""Draws of every kind, with the same parameters at each sample and image."""

import math

import torch

from vaezoo import noise

KINDS = ["normal", "uniform", "gamma", "categorical", "poisson"]
IMAGES = torch.arange(7)


def call(draws, kind, *shape, dtype=torch.float64):
    """A draw of this shape from `noise` or `noise.step`, with the same parameters at each sample and image."""
    last = torch.arange(math.prod(shape[2:])).view(shape[2:]).to(dtype)
    if kind in ("normal", "uniform"):
        return getattr(draws, kind)(*shape)
    if kind == "categorical":
        return draws.categorical(torch.stack([last.cos(), last.sin(), last * 0], -1).expand(*shape, 3))
    return getattr(draws, kind)((0.4 + last % 3).expand(shape))


def drawn(kind, *shape, key=0, dtype=torch.float64, **options):
    with noise.stream(key, dtype=dtype, **options):
        return call(noise, kind, *shape, dtype=dtype)
