"""Latents on spheres, in balls, in [0, 1]^Z and discrete ones, and mixtures: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn
from torch.nn import functional as F

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


class Coins(Scored):
    """Independent 0/1 codes."""

    def __init__(self, logit):
        self.logit = logit

    def draw(self, samples):
        uniform = vaezoo.noise.uniform(samples, *self.logit.shape).to(self.logit)
        return (uniform < self.logit.sigmoid()).to(self.logit)

    def log_density(self, z):
        return (z * self.logit - F.softplus(self.logit)).sum(-1)


@vaezoo.register.posterior("coins")
class CoinsHeads(Heads):
    """Binary codes."""

    support, width, kind = "discrete", 1, Coins

    def distribution(self, head):
        return self.kind(head)


@vaezoo.register.posterior("coins-wrong")
class CoinsWrong(CoinsHeads):
    """The probability of the other side where the code is 0."""

    class kind(Coins):
        def log_density(self, z):
            return (z * self.logit - z * F.softplus(self.logit)).sum(-1)


@vaezoo.register.prior("fair-coins")
class FairCoins(vaezoo.Prior):
    """Learned probabilities of 0/1 codes."""

    support, kind = "discrete", Coins

    def __init__(self, latent: int):
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(latent))

    def log_density(self, z):
        return self.kind(self.logit).log_density(z)

    def sample(self, n):
        return (vaezoo.noise.uniform(n, len(self.logit)) < self.logit.sigmoid()).to(self.logit)


@vaezoo.register.prior("fair-coins-wrong")
class FairCoinsWrong(FairCoins):
    """The probability of 1 counts twice in a wide latent, for example after a mask that is too short."""

    def log_density(self, z):
        return super().log_density(z) + F.logsigmoid(self.logit[5:]).sum()


vaezoo.register.variant(vaezoo.Variant("coins", posterior="coins", prior="fair-coins"))


class OneHot(Scored):
    """One of Z classes, as a one-hot code."""

    def __init__(self, logit):
        self.logit = logit

    def draw(self, samples):
        chosen = vaezoo.noise.categorical(self.logit.expand(samples, *self.logit.shape))
        return F.one_hot(chosen, self.logit.shape[-1]).to(self.logit)

    def log_density(self, z):
        return (z * self.logit.log_softmax(-1)).sum(-1)


@vaezoo.register.posterior("one-hot")
class OneHotHeads(Heads):
    """One-hot codes."""

    support, width, kind, axis = "discrete", 1, OneHot, -1

    def distribution(self, head):
        return self.kind(head)


@vaezoo.register.posterior("one-hot-wrong")
class OneHotWrong(OneHotHeads):
    """The softmax goes over the images."""

    class kind(OneHot):
        def log_density(self, z):
            return (z * self.logit.log_softmax(0)).sum(-1)


@vaezoo.register.prior("uniform-class")
class UniformClass(vaezoo.Prior):
    """Each of Z classes with the same probability."""

    support, more = "discrete", 0

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        return z.new_full(z.shape[:-1], -math.log(z.shape[-1] + self.more))

    def sample(self, n):
        return F.one_hot(vaezoo.noise.categorical(torch.zeros(n, self.latent)), self.latent)


@vaezoo.register.prior("uniform-class-wrong")
class UniformClassWrong(UniformClass):
    """One class too many."""

    more = 1


vaezoo.register.variant(vaezoo.Variant("one-hot", posterior="one-hot", prior="uniform-class"))


class TwoBells(Scored):
    """Half N(m_1, s_1^2) + half N(m_2, s_2^2): a uniform number chooses."""

    def __init__(self, head):
        self.bells = [vaezoo.DiagonalGaussian.from_heads(each) for each in head.chunk(2, -1)]

    def draw(self, samples):
        first, second = (bell.rsample(samples) for bell in self.bells)
        chosen = vaezoo.noise.uniform(*first.shape[:2], 1).to(first) < 0.5
        return torch.where(chosen, first, second)

    def log_density(self, z):
        return torch.logaddexp(*(bell.log_density(z) for bell in self.bells)) - math.log(2)


@vaezoo.register.posterior("two-bells")
class TwoBellsHeads(Heads):
    """A mixture of two Gaussians."""

    width, kind = 4, TwoBells

    def distribution(self, head):
        return self.kind(head)


@vaezoo.register.posterior("two-bells-wrong")
class TwoBellsWrong(TwoBellsHeads):
    """The mixture's dimensions choose apart in the density, together in the samples."""

    class kind(TwoBells):
        def log_density(self, z):
            scores = [
                -(0.5 * ((z - b.mean) / b.std) ** 2 + b.log_std + 0.5 * math.log(2 * math.pi)) for b in self.bells
            ]
            return (torch.logaddexp(*scores) - math.log(2)).sum(-1)


class Choosing(TwoBells):
    """The same, with exactly as many draws as latents: one uniform and Z - 1 further normals are shared."""

    def draw(self, samples):
        eps = vaezoo.noise.normal(samples, *self.bells[0].mean.shape).to(self.bells[0].mean)
        chosen = vaezoo.noise.uniform(*eps.shape[:2], 1).to(eps) < 0.5
        first, second = (bell.mean + bell.std * eps for bell in self.bells)
        return torch.where(chosen, first, second)


@vaezoo.register.posterior("choosing")
class ChoosingHeads(TwoBellsHeads):
    """A mixture whose Z normal numbers are shared by its components: no change of variables gives its density."""

    kind = Choosing
