"""An objective and a small model of binary images to draw from."""

import torch

import vaezoo
from vaezoo import noise
from vaezoo.builder import Ingredients, construct, resolve

BINARY = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(0)).round()


def trainee(objective, prior="normal", **values):
    data = vaezoo.Dataset(BINARY, BINARY, BINARY, measure="binary")
    few = {"components": 5} if prior != "normal" else {}
    slots = resolve("vae", data.spec, {"objective": (objective, values), "prior": (prior, few)})
    model, made = construct(slots, Ingredients.of(data, 3, (6,)))
    return model.double(), made.double()


def drawn(model, samples, images=6, seed=0):
    with noise.stream(seed, index=torch.arange(images), dtype=torch.float64):
        return model.draw(model.batch(BINARY[:images], index=torch.arange(images)), samples)


def assert_weighted(name, prior):
    """The KL's weight: 1 by default, another one changes the value, and it reaches the value as a tensor."""
    model, made = trainee(name, prior)
    draws = drawn(model, made.importance_samples)
    whole = made(draws)
    draws.kl_weight = torch.tensor(1.0, dtype=torch.float64)
    assert torch.equal(made(draws), whole)
    draws.kl_weight = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    part = made(draws)
    assert not torch.isclose(part, whole).all()
    (slope,) = torch.autograd.grad(part.sum(), draws.kl_weight)
    assert slope != 0


def without_kl(name):
    """(draws, the value) at weight 0."""
    model, made = trainee(name)
    draws = drawn(model, made.importance_samples)
    draws.kl_weight = torch.zeros((), dtype=torch.float64)
    return draws, made
