"""Small models of one, two and three latent groups, off their start."""

import torch

import vaezoo
from vaezoo import noise
from vaezoo.builder import Ingredients, construct, resolve

SIZES = {"one": 3, "two": [2, 3], "three": [2, 1, 3]}


def dataset(n=60):
    x = torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(0)).round()
    return vaezoo.Dataset(x, x[:20], x[:20], measure="binary")


def pair(variant, latent, seed=0, data=None, hidden=(5,), **parts):
    """The model and the objective of a variant."""
    data = data or dataset()
    slots = resolve(variant, data.spec, {slot: (name, {}) for slot, name in parts.items()})
    return construct(slots, Ingredients.of(data, latent, hidden), seed=seed)


def moved(model, scale=0.5):
    """The model in float64 with noise on every parameter, so that no group is independent of another."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model.double()


def drawn(model, x, samples, seed=0):
    """K samples of each image."""
    batch = model.batch(x, index=torch.arange(len(x)))
    with noise.stream(noise.derive(seed, "draws"), index=batch.index, dtype=model.dtype):
        return model.draw(batch, samples)


def by_every_parameter(model, value):
    """The gradient by all parameters as one vector, 0 by those on which the value does not depend."""
    parameters = list(model.parameters())
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    pairs = zip(found, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


def those_of(model, part):
    """Which entries of `by_every_parameter` are a part's."""
    own = {id(p) for p in part.parameters()}
    return torch.cat([torch.full((p.numel(),), id(p) in own) for p in model.parameters()])
