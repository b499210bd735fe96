"""Priors that move with what they are given: with the training's draws, or with the context; and mutants of them."""

import math

import torch
from torch import nn

import vaezoo

prior = vaezoo.register.prior


@prior("tracked")
class Tracked(vaezoo.Prior):
    """N(mean, variance), moving averages of the samples' moments."""

    def __init__(self, latent: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("variance", torch.ones(latent))

    def log_density(self, z):
        return vaezoo.DiagonalGaussian(self.mean, 0.5 * self.variance.log()).log_density(z)

    def scale(self):
        """Of the samples."""
        return self.variance.sqrt()

    def sample(self, n):
        return self.mean + self.scale() * vaezoo.noise.normal(n, len(self.mean)).to(self.mean)

    def update(self, draws):
        z = draws.z[0].flatten(0, 1)
        self.mean.mul_(0.95).add_(0.05 * z.mean(0))
        self.variance.mul_(0.95).add_(0.05 * (z - self.mean).square().mean(0).clamp(min=1e-4))


@prior("tracked-variance-wrong")
class TrackedVariance(Tracked):
    """Samples are scaled by the variance: at the start it is 1, and it moves slowly."""

    def scale(self):
        return self.variance


@prior("of-context")
class OfContext(vaezoo.Prior):
    """N(mean(context), I)."""

    def __init__(self, spec: vaezoo.DataSpec, latent: int):
        super().__init__()
        self.mean = nn.Linear(spec.context, latent)

    def log_density(self, z, context):
        return -(0.5 * (z - self.mean(context)).square() + 0.5 * math.log(2 * math.pi)).sum(-1)

    def sample(self, n, context):
        mean = self.mean(context)
        return mean + vaezoo.noise.normal(n, mean.shape[1]).to(mean)


@prior("of-context-first-wrong")
class OfFirstContext(OfContext):
    """All draws are given the context of the first."""

    def sample(self, n, context):
        return super().sample(n, context[:1].expand(n, -1))
