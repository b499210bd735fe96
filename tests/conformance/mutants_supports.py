"""Latents on spheres, in balls and in [0, 1]^Z: NAME is right, NAME-wrong is not."""

import math

import torch
from scored_heads import Heads, Scored
from torch.nn import functional as F

import vaezoo


def log_sphere(size):
    """log of the area of the sphere in R^size."""
    return math.log(2) + size / 2 * math.log(math.pi) - math.lgamma(size / 2)


class PowerSpherical(Scored):
    """q(z) proportional to (1 + m.z)^k on the unit sphere (De Cao and Aziz 2020)."""

    share = 1.0

    def __init__(self, head):
        self.mean = F.normalize(head, dim=-1)
        self.k = head.norm(dim=-1) + 0.5

    def draw(self, samples):
        size = self.mean.shape[-1]
        shape = (samples, *self.k.shape)
        a, b = (size - 1) / 2 + self.k, self.k.new_full((), (size - 1) / 2)
        first, second = vaezoo.noise.gamma(a.expand(shape)), vaezoo.noise.gamma(b.expand(shape))
        t = 2 * first / (first + second) - 1
        side = F.normalize(vaezoo.noise.normal(*shape, size - 1).to(self.mean), dim=-1)
        z = torch.cat([t[..., None], (1 - t.square()).clamp(min=1e-12).sqrt()[..., None] * side], -1)
        first_axis = torch.zeros_like(self.mean)
        first_axis[..., 0] = 1
        u = F.normalize(first_axis - self.mean, dim=-1)
        return z - 2 * (z * u).sum(-1, keepdim=True) * u

    def log_density(self, z):
        size = self.mean.shape[-1]
        a, b = (size - 1) / 2 + self.k, (size - 1) / 2
        constant = (a + b) * math.log(2) + b * math.log(math.pi) + torch.lgamma(a) - torch.lgamma(a + b)
        return self.k * torch.log1p((self.mean * z).sum(-1)) - self.share * constant


@vaezoo.register.posterior("power-spherical")
class PowerSphericalHeads(Heads):
    """On the unit sphere."""

    support, width, kind = "sphere", 1, PowerSpherical

    def distribution(self, head):
        if self.latent == 1:
            raise vaezoo.Skip("a sphere needs two dimensions")
        return self.kind(head)


@vaezoo.register.posterior("power-spherical-wrong")
class PowerSphericalWrong(PowerSphericalHeads):
    """Without log pi^b: right in no dimension."""

    class kind(PowerSpherical):
        def log_density(self, z):
            return super().log_density(z) + (self.mean.shape[-1] - 1) / 2 * math.log(math.pi)


@vaezoo.register.prior("sphere")
class Sphere(vaezoo.Prior):
    """Uniform on the unit sphere."""

    support = "sphere"

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        return z.new_full(z.shape[:-1], -log_sphere(z.shape[-1]))

    def sample(self, n):
        return F.normalize(vaezoo.noise.normal(n, self.latent), dim=-1)


@vaezoo.register.prior("sphere-wrong")
class SphereWrong(Sphere):
    """The volume of the ball for the area of the sphere."""

    def log_density(self, z):
        return super().log_density(z) + math.log(z.shape[-1])


vaezoo.register.variant(vaezoo.Variant("spherical", posterior="power-spherical", prior="sphere"))


class InBall(Scored):
    """y ~ N(mean, std^2), z = y tanh|y| / |y|."""

    power = 1

    def __init__(self, head):
        self.base = vaezoo.DiagonalGaussian.from_heads(head)

    def draw(self, samples):
        y = self.base.rsample(samples)
        return y * torch.tanh(y.norm(dim=-1, keepdim=True)) / y.norm(dim=-1, keepdim=True)

    def log_density(self, z):
        radius = z.norm(dim=-1).clamp(1e-9, 1 - 1e-9)
        far = torch.atanh(radius)
        log_det = torch.log1p(-radius.square()) + (z.shape[-1] - self.power) * (radius / far).log()
        return self.base.log_density(z * (far / radius)[..., None]) - log_det


@vaezoo.register.posterior("in-ball")
class InBallHeads(Heads):
    """In the unit ball, with respect to dz."""

    support, kind = "ball", InBall

    def distribution(self, head):
        return self.kind(head)


@vaezoo.register.posterior("in-ball-wrong")
class InBallWrong(InBallHeads):
    """The radius has one dimension too many."""

    class kind(InBall):
        power = 0


@vaezoo.register.prior("ball")
class Ball(vaezoo.Prior):
    """Uniform in the unit ball."""

    support = "ball"

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        return z.new_full(z.shape[:-1], math.log(z.shape[-1]) - log_sphere(z.shape[-1]))

    def sample(self, n):
        radius = vaezoo.noise.uniform(n, 1) ** (1 / self.latent)
        return F.normalize(vaezoo.noise.normal(n, self.latent), dim=-1) * radius


@vaezoo.register.prior("ball-wrong")
class BallWrong(Ball):
    """Samples uniform in the radius, which are more about the middle than the density says."""

    def sample(self, n):
        return F.normalize(vaezoo.noise.normal(n, self.latent), dim=-1) * vaezoo.noise.uniform(n, 1)


vaezoo.register.variant(vaezoo.Variant("in-ball", posterior="in-ball", prior="ball"))


class LogitNormal(Scored):
    """logit z ~ N(mean, std^2)."""

    def __init__(self, head):
        self.base = vaezoo.DiagonalGaussian.from_heads(head)

    def draw(self, samples):
        return self.base.rsample(samples).sigmoid()

    def log_density(self, z):
        y = z.logit(1e-12)
        return self.base.log_density(y) - (F.logsigmoid(y) + F.logsigmoid(-y)).sum(-1)


@vaezoo.register.posterior("logit-normal")
class LogitNormalHeads(Heads):
    """In [0, 1]^Z."""

    support, kind = "unit", LogitNormal

    def distribution(self, head):
        return self.kind(head)


@vaezoo.register.posterior("logit-normal-wrong")
class LogitNormalWrong(LogitNormalHeads):
    """Without the logarithm of the logit's slope."""

    class kind(LogitNormal):
        def log_density(self, z):
            return self.base.log_density(z.logit(1e-12))


@vaezoo.register.prior("triangle")
class Triangle(vaezoo.Prior):
    """p(z) = prod_j 2 z_j on [0, 1]^Z."""

    support, constant = "unit", math.log(2)

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        return (z.log() + self.constant).sum(-1)

    def sample(self, n):
        return vaezoo.noise.uniform(n, self.latent).sqrt()


@vaezoo.register.prior("triangle-wrong")
class TriangleWrong(Triangle):
    """As if its integral were 1 / 3."""

    constant = math.log(3)


vaezoo.register.variant(vaezoo.Variant("unit-interval", posterior="logit-normal", prior="triangle"))
