"""Small models of binary images with a posterior to test."""

import torch

import vaezoo
from vaezoo import noise
from vaezoo.builder import Ingredients, construct, resolve

BINARY = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(0)).round()


def model_with(posterior, latent=3, moved=False, hidden=(6,), **options):
    """A float64 model with this posterior; moved: its inference network's parameters are off their start."""
    data = vaezoo.Dataset(BINARY, BINARY, BINARY, measure="binary")
    slots = resolve("vae", data.spec, {"posterior": (posterior, options)})
    model = construct(slots, Ingredients.of(data, latent, hidden))[0].double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.posterior_net.parameters() if moved else ():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def drawn(model, samples=4, images=6, seed=0):
    """Draws of the first images, keyed by them."""
    index = torch.arange(images)
    with noise.stream(seed, index=index, dtype=torch.float64):
        return model.draw(model.batch(BINARY[:images], index=index), samples)


def inference_parameters(model):
    return [p for name, p in model.named_parameters() if name.startswith(("encoder.", "posterior_net."))]
