"""Latents on spheres, in balls and in [0, 1]^Z: NAME is right, NAME-wrong is not."""

import math

import torch
from scored_heads import Heads, Scored, log_sphere
from torch.nn import functional as F

import vaezoo


class Angular(Scored):
    """q(z) of z = s eps / |s eps| on the unit sphere, the angular central Gaussian (Tyler 1987)."""

    less = 0

    def __init__(self, head):
        self.log_scale = head

    def draw(self, samples):
        eps = vaezoo.noise.normal(samples, *self.log_scale.shape).to(self.log_scale)
        return F.normalize(self.log_scale.exp() * eps, dim=-1)

    def log_density(self, z):
        size = z.shape[-1]
        square = (z * (-self.log_scale).exp()).square().sum(-1)
        return -self.log_scale.sum(-1) - (size - self.less) / 2 * square.log() - log_sphere(size)


@vaezoo.register.posterior("angular")
class AngularHeads(Heads):
    """On the unit sphere."""

    support, width, kind = "sphere", 1, Angular

    def distribution(self, head):
        if self.latent == 1:
            raise vaezoo.Skip("a sphere needs two dimensions")
        return self.kind(head)


@vaezoo.register.posterior("angular-wrong")
class AngularWrong(AngularHeads):
    """The power of a sphere of one dimension less."""

    class kind(Angular):
        less = 1


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


vaezoo.register.variant(vaezoo.Variant("spherical", posterior="angular", prior="sphere"))


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
