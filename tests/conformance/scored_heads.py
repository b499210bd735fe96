"""What the mutants of several files share: linear heads, a q(z|x) scored where it was drawn, the area of a sphere."""

import math

from torch import nn

import vaezoo


class Heads(vaezoo.Posterior):
    """Linear heads of `width` numbers a latent, which `distribution` takes."""

    width = 2

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.latent = latent
        self.heads = nn.Sequential(nn.Flatten(1), nn.Linear(math.prod(features), self.width * latent))

    def forward(self, features):
        return self.distribution(self.heads(features))


class Scored:
    """Samples by `draw(K)` -> [K, B, Z], scored by `log_density`."""

    gaussian = None

    def rsample_and_log_prob(self, samples):
        z = self.draw(samples)
        return (z,), self.log_density(z)[None]

    def log_prob(self, z):
        return self.log_density(z[0])[None]


def log_sphere(size):
    """log of the area of the sphere in R^size."""
    return math.log(2) + size / 2 * math.log(math.pi) - math.lgamma(size / 2)
