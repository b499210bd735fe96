"""Two groups, a sphere and a line, that no variant puts together: NAME is right, NAME-wrong is not."""

import math

import torch
from scored_heads import log_sphere
from torch import nn
from torch.nn import functional as F

import vaezoo


def pair(latents):
    """The sizes of two groups; Skip where there are not two, or the sphere is two points."""
    if len(latents) != 2 or latents[0] < 2:
        raise vaezoo.Skip("it takes a sphere and a group of R^Z")
    return latents


class UniformThenGaussian:
    """z_1 uniform on the sphere, z_2 ~ N(W z_1 + b, std^2)."""

    gaussian = None

    def __init__(self, part, shift):
        self.part, self.shift = part, shift

    def below(self, top):
        """The Gaussian of z_2."""
        mean = self.part.maps(top) + self.shift
        return vaezoo.DiagonalGaussian(mean, self.part.log_std.expand_as(mean))

    def rsample_and_log_prob(self, samples):
        eps = vaezoo.noise.normal(samples, len(self.shift), self.part.top)
        top = F.normalize(eps.to(self.shift), dim=-1)
        z = (top, self.below(top).draw())
        return z, self.log_prob(z)

    def log_prob(self, z):
        top, low = z
        return torch.stack([top.new_full(top.shape[:-1], -log_sphere(self.part.top)), self.scored(top, low)])

    def scored(self, top, low):
        """log q of z_2 given z_1."""
        return self.below(top).log_density(low)


@vaezoo.register.posterior("sphere-then-line")
class SphereThenLine(vaezoo.Posterior):
    """Only z_2 depends on x."""

    support, kind = ("sphere", "real"), UniformThenGaussian

    def __init__(self, features: tuple[int, ...], latents: tuple[int, ...]):
        super().__init__()
        self.top, low = pair(latents)
        self.shift = nn.Sequential(nn.Flatten(1), nn.Linear(math.prod(features), low))
        self.maps, self.log_std = nn.Linear(self.top, low), nn.Parameter(torch.zeros(low))

    def forward(self, features):
        return self.kind(self, self.shift(features))


@vaezoo.register.posterior("sphere-then-line-wrong")
class SphereThenLineWrong(SphereThenLine):
    """z_2 is scored as if it did not depend on z_1."""

    class kind(UniformThenGaussian):
        def scored(self, top, low):
            return super().scored(torch.zeros_like(top), low)


@vaezoo.register.prior("sphere-then-line")
class SphereThenLinePrior(vaezoo.Prior):
    """z_1 uniform on the sphere, z_2 ~ N(W z_1, I)."""

    support = ("sphere", "real")

    def __init__(self, latents: tuple[int, ...]):
        super().__init__()
        self.top, low = pair(latents)
        self.maps = nn.Linear(self.top, low)

    def seen(self, top):
        """What z_2 depends on in the density."""
        return top

    def log_prob(self, z):
        top, low = z
        mean = self.maps(self.seen(top))
        below = vaezoo.DiagonalGaussian(mean, torch.zeros_like(mean)).log_density(low)
        return torch.stack([top.new_full(top.shape[:-1], -log_sphere(self.top)), below])

    def sample(self, n):
        top = F.normalize(vaezoo.noise.normal(n, self.top), dim=-1)
        mean = self.maps(top)
        return top, vaezoo.DiagonalGaussian(mean, torch.zeros_like(mean)).draw()


@vaezoo.register.prior("sphere-then-line-wrong")
class SphereThenLinePriorWrong(SphereThenLinePrior):
    """The density has the sphere's coordinates in reverse order."""

    def seen(self, top):
        return top.flip(-1)
