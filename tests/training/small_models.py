"""A small data set, and models to train on it."""

import torch

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve


def dataset(n=60, dynamic=False):
    x = torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    gray, binary = (255 * x).round().to(torch.uint8), x.round()
    return vaezoo.Dataset(
        gray if dynamic else binary,
        binary[:20],
        binary[:20],
        measure="binary",
        binarisation="dynamic" if dynamic else "none",
    )


def pair(data, variant="vae", seed=0, objective=None, **overrides):
    slots = resolve(variant, data.spec, {s: (c, {}) for s, c in overrides.items()})
    model, own = construct(slots, Ingredients.of(data, 2, (5,)), seed=seed)
    return model, objective or own
