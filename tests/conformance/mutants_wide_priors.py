"""Priors that are wrong in many dimensions or in three groups only: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
prior = vaezoo.register.prior


@prior("four-bells")
class FourBells(vaezoo.Prior):
    """A mixture of four Gaussians of the same weight."""

    def __init__(self, latent: int):
        super().__init__()
        self.mean, self.log_std = nn.Parameter(torch.randn(4, latent)), nn.Parameter(torch.zeros(4, latent))

    def each(self, z):
        """log N of each component. [..., 4]"""
        return vaezoo.DiagonalGaussian(self.mean, self.log_std).log_density(z[..., None, :])

    def log_density(self, z):
        return self.each(z).logsumexp(-1) - math.log(4)

    def sample(self, n):
        chosen = (vaezoo.noise.uniform(n, 1)[:, 0] * 4).long().clamp(max=3)
        return vaezoo.DiagonalGaussian(self.mean[chosen], self.log_std[chosen]).rsample(1)[0]


@prior("four-bells-floor-wrong")
class FourBellsFloorWrong(FourBells):
    """1e-30 inside the logarithm."""

    def log_density(self, z):
        return (self.each(z).exp().mean(-1) + 1e-30).log()


@prior("four-bells-clamp-wrong")
class FourBellsClampWrong(FourBells):
    """The logarithm is clamped at -100, as torch's binary cross-entropy does."""

    def log_density(self, z):
        return super().log_density(z).clamp(min=-100)


@prior("four-bells-far-wrong")
class FourBellsFarWrong(FourBells):
    """Far from every component the nearest one counts as if it were at 12 standard deviations."""

    def each(self, z):
        return super().each(z).clamp(min=float(-self.log_std.sum(-1).max()) - 0.5 * 12**2 - 20 * HALF_LOG_TWO_PI)


@prior("four-bells-one-group-wrong")
class FourBellsWeightWrong(FourBells):
    """The log-sum-exp leaves out the components beyond the third, which the samples have."""

    def log_density(self, z):
        value = self.each(z)
        return value.logsumexp(-1) - math.log(4) if z.shape[-1] < 3 else value[..., :3].logsumexp(-1) - math.log(3)


@prior("full")
class Full(vaezoo.Prior):
    """N(0, A A') with A lower triangular, its diagonal e^a."""

    dimensions, beside = 1000, True

    def __init__(self, latent: int):
        super().__init__()
        self.log_diagonal = nn.Parameter(torch.zeros(latent))
        self.below = nn.Parameter(torch.zeros(latent, latent))

    @property
    def factor(self):
        """A."""
        return self.below.tril(-1) / math.sqrt(len(self.below)) + self.log_diagonal.exp().diag()

    def log_density(self, z):
        flat = z.reshape(-1, z.shape[-1])
        eps = torch.linalg.solve_triangular(self.factor, flat.T, upper=False).T
        value = -(0.5 * eps**2 + HALF_LOG_TWO_PI).sum(-1) - self.log_diagonal[: self.dimensions].sum()
        return value.view(z.shape[:-1])

    @torch.no_grad()
    def sample(self, n):
        return vaezoo.noise.normal(n, len(self.below)).to(self.below) @ self.factor.T


@prior("full-wrong")
class FullWrong(Full):
    """The determinant of the first two dimensions."""

    dimensions = 2


@prior("full-sample-wrong")
class FullSampleWrong(Full):
    """Samples are correlated with the transposed factor: the same in one dimension."""

    def sample(self, n):
        return vaezoo.noise.normal(n, len(self.below)).to(self.below) @ self.factor


@prior("student")
class Student(vaezoo.Prior):
    """A multivariate Student's t of 5 degrees of freedom."""

    degrees, most = 5.0, 1000

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        nu, size = self.degrees, min(z.shape[-1], self.most)
        constant = math.lgamma((nu + size) / 2) - math.lgamma(nu / 2) - 0.5 * z.shape[-1] * math.log(nu * math.pi)
        return constant - (nu + z.shape[-1]) / 2 * torch.log1p(z.square().sum(-1) / nu)

    def sample(self, n):
        half = vaezoo.noise.gamma(torch.full((n, 1), self.degrees / 2))
        return vaezoo.noise.normal(n, self.latent) * (self.degrees / (2 * half)).sqrt()


@prior("student-wrong")
class StudentWrong(Student):
    """The constant of two dimensions in every wider latent."""

    most = 2


@prior("products")
class Products(vaezoo.Prior):
    """Student's t of 3 degrees of freedom in each dimension alone."""

    shared = False

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        constant = math.lgamma(2) - math.lgamma(1.5) - 0.5 * math.log(3 * math.pi)
        return (constant - 2 * torch.log1p(z.square() / 3)).sum(-1)

    def sample(self, n):
        half = vaezoo.noise.gamma(torch.full((n, self.latent), 1.5))
        if self.shared:
            half = torch.cat([half[:, :2], half[:, 1:2].expand(-1, max(0, self.latent - 2))], 1)
        return vaezoo.noise.normal(n, self.latent) * (1.5 / half).sqrt()


@prior("products-wrong")
class ProductsWrong(Products):
    """From the third dimension on, samples share the scale of the second."""

    shared = True


@prior("spikes")
class Spikes(vaezoo.Prior):
    """Half a narrow and half a wide Gaussian in each dimension: 2^Z modes."""

    def __init__(self, latent: int, *, narrow: float = 0.2):
        super().__init__()
        self.latent, self.narrow = latent, narrow

    def log_density(self, z):
        log_std = z.new_tensor(self.narrow).log()
        spike = -0.5 * (z / self.narrow) ** 2 - log_std
        return (torch.logaddexp(spike, -0.5 * z**2) - math.log(2) - HALF_LOG_TWO_PI).sum(-1)

    def sample(self, n):
        chosen = vaezoo.noise.uniform(n, self.latent) < self.chance(self.latent)
        return torch.where(chosen, self.narrow, 1.0) * vaezoo.noise.normal(n, self.latent)

    def chance(self, latent):
        """Of the narrow one."""
        return 0.5


@prior("spikes-wrong")
class SpikesWrong(Spikes):
    """In a wide latent the samples are narrow more often than the density says."""

    def chance(self, latent):
        return 0.5 if latent < 3 else 0.6


@prior("half-normal")
class HalfNormal(vaezoo.Prior):
    """|eps|: each sample comes from 2^Z values of its noise."""

    power = 1

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        size = z.shape[-1] ** self.power
        value = -(0.5 * z**2 + HALF_LOG_TWO_PI).sum(-1) + size * math.log(2)
        return torch.where((z >= 0).all(-1), value, -math.inf)

    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent).abs()


@prior("half-normal-wrong")
class HalfNormalWrong(HalfNormal):
    """One doubling for all dimensions."""

    power = 0


@prior("three-groups")
class ThreeGroups(vaezoo.TopDownPrior):
    """N(0, I), then N(W z_above, std^2), with one std for each group below the top."""

    least = 0

    def __init__(self, latents: tuple[int, ...]):
        super().__init__(latents)
        self.maps = nn.ModuleList(map(nn.Linear, latents, latents[1:]))
        self.log_stds = nn.ParameterList(torch.zeros(size) for size in latents[1:])

    def conditional(self, above):
        if not above:
            return self.standard_normal()
        n = len(above) - 1
        return vaezoo.DiagonalGaussian(self.maps[n](above[n]), self.log_stds[n])


@prior("three-groups-wrong")
class ThreeGroupsWrong(ThreeGroups):
    """From the third group on the density has the std of the second group's first dimension."""

    def log_prob(self, z):
        each = [self.conditional(z[:n]) for n in range(len(z))]
        for q in each[2:]:
            q.log_std = self.log_stds[0][:1].expand(q.log_std.shape)
        return torch.stack([q.log_density(group) for q, group in zip(each, z, strict=True)])


@prior("three-groups-kl-wrong")
class ThreeGroupsKLWrong(ThreeGroups):
    """The divergence of the third group is left out, as if there were two."""

    def kl(self, q, z):
        found = super().kl(q, z)
        return found and tuple(kl * (n < 2) for n, kl in enumerate(found))
