"""Small models of discrete codes, in float64, whose codes can all be enumerated."""

import torch

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.conformance.ground import codes, every_draw
from vaezoo.training.module import TrainingModule
from vaezoo.training.step import parameter_groups


def small(objective, samples, block=2, latent=3):
    """A model of codes, off its start, its objective, and two images: with block = 2 a one-hot pair and a bit."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 4, generator=generator).round()
    data = vaezoo.Dataset(x, x, x, measure="binary")
    coded = ("categorical", {"block": block})
    variant = vaezoo.Variant("t", encoder="linear", posterior=coded, prior=coded, decoder="linear")
    slots = resolve(variant, data.spec) | {"objective": (objective, {"importance_samples": samples})}
    model, built = construct(slots, Ingredients.of(data, latent, (3,)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    model = model.double()
    return model, built, model.batch(x[:2])


def every(model, batch, samples):
    """The draws of all combinations of codes, and the probability of each."""
    return every_draw(model, batch, codes(model, batch), samples)


def gradient(value, model, objective, group):
    """The gradient of a number by one group of parameters, flat."""
    parameters = parameter_groups(TrainingModule(model, objective))[group]
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, parameters, strict=True)]
    )
