"""Likelihoods and decoders that are wrong on some images only: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn
from torch.nn import functional as F

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
likelihood, decoder = vaezoo.register.likelihood, vaezoo.register.decoder


@likelihood("levels")
class Levels(vaezoo.Likelihood):
    """Binomial(levels - 1) levels of the probability sigmoid(parameter)."""

    measures = ("discrete",)

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.parameter_shape, self.top = spec.shape, spec.levels - 1

    def log_prob(self, x, parameters):
        k = x * self.top
        ways = math.lgamma(self.top + 1) - torch.lgamma(k + 1) - torch.lgamma(self.top - k + 1)
        value = ways + k * parameters - self.top * F.softplus(parameters) + self.more(k)
        return value.flatten(2).sum(-1)

    def more(self, k):
        """Added to log p of level k."""
        return 0.0

    def mean(self, parameters):
        return parameters.sigmoid()

    def sample(self, parameters):
        uniform = vaezoo.noise.uniform(*parameters.shape, self.top).to(parameters)
        return (uniform < parameters.sigmoid()[..., None]).to(parameters).mean(-1)


@likelihood("levels-last-wrong")
class LevelsLastWrong(Levels):
    """The last level of 200 or more counts twice."""

    def more(self, k):
        return math.log(2) * (k > self.top - 0.5) if self.top > 198 else 0.0


@likelihood("levels-16-wrong")
class Levels16Wrong(Levels):
    """Images of 16 levels are scored as if they had 15."""

    def more(self, k):
        return 0.01 if self.top == 15 else 0.0


@likelihood("levels-byte-wrong")
class LevelsByteWrong(Levels):
    """Levels pass through a signed byte."""

    def log_prob(self, x, parameters):
        k = (x * self.top).round()
        wrapped = torch.where(k > 127, k - 128, k)
        return super().log_prob(wrapped / self.top, parameters)


@likelihood("bumps")
class Bumps(vaezoo.Likelihood):
    """N(x; mean, std^2) with one std for each channel."""

    measures = ("continuous",)

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.parameter_shape = spec.shape
        self.log_std = nn.Parameter(torch.zeros(spec.shape[0], *[1] * (len(spec.shape) - 1)))

    def scored(self):
        """log std in the density."""
        return self.log_std

    def log_prob(self, x, parameters):
        log_std = self.scored()
        value = -(0.5 * ((x - parameters) * (-log_std).exp()) ** 2 + log_std + HALF_LOG_TWO_PI)
        return value.flatten(2).sum(-1)

    def mean(self, parameters):
        return parameters

    def sample(self, parameters):
        return parameters + self.log_std.exp() * vaezoo.noise.normal(*parameters.shape).to(parameters)


@likelihood("bumps-channel-wrong")
class BumpsChannelWrong(Bumps):
    """The constant of every channel has the first one's std."""

    def log_prob(self, x, parameters):
        value = super().log_prob(x, parameters)
        first = self.log_std[:1].expand_as(self.log_std)
        return value + (self.log_std - first).expand(self.parameter_shape).sum()


@likelihood("bumps-sample-wrong")
class BumpsSampleWrong(Bumps):
    """The samples of every channel have the first one's std."""

    def sample(self, parameters):
        return parameters + self.log_std[:1].exp() * vaezoo.noise.normal(*parameters.shape).to(parameters)


@likelihood("events")
class Events(vaezoo.Likelihood):
    """Poisson counts of log rate."""

    measures = ("counts",)

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.parameter_shape = spec.shape

    def ways(self, x):
        """log x!"""
        return torch.lgamma(x + 1)

    def log_prob(self, x, parameters):
        return (x * parameters - parameters.exp() - self.ways(x)).flatten(2).sum(-1)

    def mean(self, parameters):
        return parameters.exp()

    def sample(self, parameters):
        return vaezoo.noise.poisson(parameters.exp())


@likelihood("events-wrong")
class EventsWrong(Events):
    """log x! of the first row of the first channel only."""

    def ways(self, x):
        first = torch.zeros_like(x)
        first[:, :1, :1] = 1
        return torch.lgamma(x + 1) * first


@decoder("in-order")
class InOrder(vaezoo.Decoder):
    """Each number's parameters from z and from the numbers before it, pixel by pixel, channels last."""

    autoregressive = True

    def __init__(self, spec: vaezoo.DataSpec, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__()
        self.parameter_shape, size = parameter_shape, spec.dimensions
        if tuple(parameter_shape) != spec.shape:
            raise vaezoo.Skip("needs one parameter for each number")
        self.of_z = nn.Linear(latent, size)
        self.weight = nn.Parameter(torch.zeros(size, size))
        rank = torch.empty(size)
        rank[self.pixel_order(spec.shape)] = torch.arange(size).float()
        self.register_buffer("mask", self.before(rank, spec.shape).float(), persistent=False)

    def before(self, rank, shape):
        """Whether number i may see number j. [D, D]"""
        return rank[:, None] > rank[None, :]

    def forward(self, z, x):
        seen = x.flatten(1) @ (self.weight * self.mask).T
        return (self.of_z(z) + seen).view(-1, *self.parameter_shape)


@decoder("in-order-channels-wrong")
class InOrderChannelsWrong(InOrder):
    """A pixel's channels see each other."""

    def before(self, rank, shape):
        if len(shape) < 3:
            return super().before(rank, shape)
        pixel = (rank / shape[0]).floor()
        apart = rank[:, None] != rank[None, :]
        return (pixel[:, None] >= pixel[None, :]) & apart if shape[0] > 1 else super().before(rank, shape)


@decoder("in-order-rows-wrong")
class InOrderRowsWrong(InOrder):
    """The mask counts rows of two pixels, whatever the width."""

    def before(self, rank, shape):
        if len(shape) < 3 or shape[-1] == 2:
            return super().before(rank, shape)
        row = (rank / 2).floor()
        inside = rank % 2
        return (row[:, None] > row[None, :]) | ((row[:, None] == row[None, :] - 1) & (inside[:, None] > inside))


@decoder("in-order-declared-wrong")
class InOrderDeclaredWrong(InOrder):
    """Normalised, but its pixels are drawn in another order than the mask's."""

    def before(self, rank, shape):
        return rank[:, None] < rank[None, :]


@decoder("in-order-gradient-wrong")
class InOrderGradientWrong(InOrder):
    """Each pixel sees itself by its gradient alone."""

    def forward(self, z, x):
        return super().forward(z, x) + (x - x.detach()).view(-1, *self.parameter_shape)


class SquareDensity:
    """A diagonal Gaussian, scored with a constant of its own axes."""

    gaussian = None

    def __init__(self, head):
        self.q = vaezoo.DiagonalGaussian.from_heads(head)

    def rsample_and_log_prob(self, samples):
        z = self.q.rsample(samples)
        return (z,), self.log_prob((z,))

    def log_prob(self, z):
        eps = (z[0] - self.q.mean) / self.q.std
        constant = self.constant(self.q.log_std.sum(-1), z[0])
        return (-(0.5 * eps**2 + HALF_LOG_TWO_PI).sum(-1) - constant)[None]

    def constant(self, value, z):
        """[B], which broadcasts against [K, B]."""
        return value


@vaezoo.register.posterior("square")
class Square(vaezoo.Posterior):
    """A diagonal Gaussian."""

    kind = SquareDensity

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Sequential(nn.Flatten(1), nn.Linear(math.prod(features), 2 * latent))

    def forward(self, features):
        return self.kind(self.heads(features))


@vaezoo.register.posterior("square-wrong")
class SquareWrong(Square):
    """Where there are as many samples as images, the constant is taken to be of the samples."""

    class kind(SquareDensity):
        def constant(self, value, z):
            return value[:, None] if z.shape[0] == z.shape[1] else value


@vaezoo.register.prior("square")
class SquarePrior(vaezoo.Prior):
    """N(0, s_j^2), the stds learned."""

    def __init__(self, latent: int):
        super().__init__()
        self.log_std = nn.Parameter(torch.zeros(latent))

    def log_density(self, z):
        eps = z * (-self.log_std).exp()
        return -(0.5 * eps**2 + self.log_std + HALF_LOG_TWO_PI).sum(-1)

    def sample(self, n):
        return self.log_std.exp() * vaezoo.noise.normal(n, len(self.log_std))


@vaezoo.register.prior("square-wrong")
class SquarePriorWrong(SquarePrior):
    """Where there are as many images as latent dimensions, each image has a std of its own."""

    def log_density(self, z):
        if z.ndim == 3 and z.shape[1] == z.shape[2] > 1:
            eps = z * (-self.log_std[:, None]).exp()
            return -(0.5 * eps**2 + self.log_std[:, None] + HALF_LOG_TWO_PI).sum(-1)
        return super().log_density(z)
