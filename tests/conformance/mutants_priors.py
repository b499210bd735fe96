"""Wrong mixtures, tails, boxes and learned priors, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
prior = vaezoo.register.prior


@prior("mixture-weights")
class MixtureWeights(vaezoo.Prior):
    """sum_c w_c N(z; mean_c, std_c)."""

    axis = 0

    def __init__(self, latent: int, *, components: int = 4):
        super().__init__()
        self.mean = nn.Parameter(torch.randn(components, latent))
        self.log_std = nn.Parameter(torch.zeros(components, latent))
        self.logit = nn.Parameter(torch.zeros(components, 1))

    def terms(self, z):
        """log N(z; mean_c, std_c) of each dimension. [..., C, Z]"""
        eps = (z[..., None, :] - self.mean) * (-self.log_std).exp()
        return -(0.5 * eps**2 + self.log_std + HALF_LOG_TWO_PI)

    def log_density(self, z):
        weight = self.logit.log_softmax(self.axis)[:, 0]
        return (self.terms(z).sum(-1) + weight).logsumexp(-1)

    def sample(self, n):
        edges = self.logit.softmax(0)[:, 0].cumsum(0)
        chosen = (vaezoo.noise.uniform(n, 1) > edges).sum(-1).clamp(max=len(edges) - 1)
        return vaezoo.DiagonalGaussian(self.mean[chosen], self.log_std[chosen]).rsample(1)[0]


@prior("mixture-weights-wrong")
class MixtureWeightsWrong(MixtureWeights):
    """The softmax over an axis of length 1: every weight is 1."""

    axis = 1


@prior("mixture-axis")
class MixtureAxis(MixtureWeights):
    """sum_c N(z; mean_c, std_c) / C."""

    def log_density(self, z):
        terms = self.terms(z)
        return terms.sum(-1).logsumexp(-1) - math.log(terms.shape[-2]) + 0 * self.logit.sum()

    def sample(self, n):
        chosen = (vaezoo.noise.uniform(n) * len(self.mean)).long()
        return vaezoo.DiagonalGaussian(self.mean[chosen], self.log_std[chosen]).rsample(1)[0]


@prior("mixture-axis-wrong")
class MixtureAxisWrong(MixtureAxis):
    """The log-sum-exp over the components of each dimension, then the sum: a product of mixtures, not a mixture."""

    def log_density(self, z):
        terms = self.terms(z)
        return (terms.logsumexp(-2) - math.log(terms.shape[-2])).sum(-1) + 0 * self.logit.sum()


@prior("variance")
class Variance(vaezoo.Prior):
    """N(mean, std^2), both learned, std = 1 at the start."""

    power = 2.0

    def __init__(self, latent: int):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(latent))
        self.log_std = nn.Parameter(torch.zeros(latent))

    def log_density(self, z):
        log_variance = self.power * self.log_std
        square = (z - self.mean) ** 2
        return -(0.5 * square * (-log_variance).exp() + 0.5 * log_variance + HALF_LOG_TWO_PI).sum(-1)

    def sample(self, n):
        return vaezoo.DiagonalGaussian(self.mean, self.log_std).rsample(n)


@prior("variance-wrong")
class VarianceWrong(Variance):
    """Sigma for variance in the density: integrates to 1, but samples are others."""

    power = 1.0


@prior("cauchy")
class Cauchy(vaezoo.Prior):
    """Heavy tails, with a scale whose default hides a missing log(scale)."""

    def __init__(self, latent: int, *, scale: float = 1.0):
        super().__init__()
        self.latent, self.scale = latent, scale

    def log_density(self, z):
        return -(math.pi * self.scale * (1 + (z / self.scale) ** 2)).log().sum(-1)

    def sample(self, n):
        return self.scale * torch.tan(math.pi * (vaezoo.noise.uniform(n, self.latent) - 0.5))


@prior("cauchy-wrong")
class CauchyWrong(Cauchy):
    """log(scale) is dropped, which shows at no scale but 1."""

    def log_density(self, z):
        return -(math.pi * (1 + (z / self.scale) ** 2)).log().sum(-1)


@prior("box")
class Box(vaezoo.Prior):
    """Uniform on [-1, 1]^Z."""

    volume = 2.0

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        inside = (z.abs() <= 1).all(-1)
        return torch.where(inside, -z.shape[-1] * math.log(self.volume), -math.inf).to(z.dtype)

    def sample(self, n):
        return 2 * vaezoo.noise.uniform(n, self.latent) - 1


@prior("box-wrong")
class BoxWrong(Box):
    """Half of the volume."""

    volume = 1.0


@prior("scale")
class Scale(vaezoo.Prior):
    """The Laplace density, which has a kink."""

    factor = 1.0

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        return -(z.abs() + math.log(2)).sum(-1)

    def sample(self, n):
        u = vaezoo.noise.uniform(n, self.latent) - 0.5
        return -self.factor * u.sign() * torch.log1p(-2 * u.abs())


@prior("scale-wrong")
class ScaleWrong(Scale):
    """Samples of another scale than the density's."""

    factor = 0.8


@prior("kept")
class Kept(vaezoo.Prior):
    """N(mean, I) with a mean drawn at the start, kept as a buffer."""

    def __init__(self, latent: int):
        super().__init__()
        self.keep(torch.randn(latent))

    def keep(self, mean):
        """Where it is kept."""
        self.register_buffer("mean", mean)

    def log_density(self, z):
        return -(0.5 * (z - self.mean) ** 2 + HALF_LOG_TWO_PI).sum(-1)

    def sample(self, n):
        return self.mean + vaezoo.noise.normal(n, len(self.mean))


@prior("kept-wrong")
class KeptWrong(Kept):
    """A plain tensor, which no file of weights has."""

    def keep(self, mean):
        self.mean = mean


@prior("kept-apart-wrong")
class KeptApartWrong(Kept):
    """A non-persistent buffer, which no file of weights has."""

    def keep(self, mean):
        self.register_buffer("mean", mean, persistent=False)


@prior("listed")
class Listed(vaezoo.Prior):
    """N(mean, I), the mean a parameter."""

    def __init__(self, latent: int):
        super().__init__()
        self.means = nn.ParameterList([nn.Parameter(torch.zeros(latent))])

    def log_density(self, z):
        return -(0.5 * (z - self.means[0]) ** 2 + HALF_LOG_TWO_PI).sum(-1)

    def sample(self, n):
        return self.means[0] + vaezoo.noise.normal(n, len(self.means[0]))


@prior("listed-wrong")
class ListedWrong(Listed):
    """A parameter in a plain list."""

    def __init__(self, latent: int):
        super().__init__(latent)
        del self.means
        self.means = [nn.Parameter(torch.zeros(latent))]


@prior("detached-wrong")
class DetachedWrong(Listed):
    """A parameter that is cut from the graph."""

    def log_density(self, z):
        return -(0.5 * (z - self.means[0].detach()) ** 2 + HALF_LOG_TWO_PI).sum(-1)
