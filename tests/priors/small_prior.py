"""A prior in a small model, and its density at points."""

import torch

import vaezoo
from vaezoo import Variant, noise
from vaezoo.builder import build
from vaezoo.core.draws import Batch


def model_with(prior, latent, moved=True, dtype=torch.float64):
    """A model with this prior (a name, or a name with its hyper-parameters), its parameters moved from their start."""
    images = torch.rand(60, 1, 2, 3, generator=torch.Generator().manual_seed(0)).round()
    model = build(
        Variant("t", prior=prior),
        vaezoo.Dataset(images, images, images, measure="binary"),
        latent=latent,
        hidden=(6,),
    ).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.posterior_net.heads[1].weight.mul_(3)  # components apart, for a prior made of posteriors
        if moved:
            for parameter in model.prior.parameters():
                parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator).to(dtype))
    return model


def log_density(model, z):
    """log p(z) of points [M, Z] -> [M]."""
    batch = Batch(torch.zeros(1, *model.spec.shape, dtype=z.dtype), index=torch.zeros(1, dtype=torch.int64))
    with torch.no_grad():
        return model.log_prior(batch, (z[:, None],)).sum(0)[:, 0]


def sampled(model, seed=0, n=4000):
    with noise.stream(noise.derive(seed, "prior"), dtype=torch.float64):
        return model.prior_sample(n)[0]
