"""Wrong likelihoods, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn
from torch.nn import functional as F

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
likelihood = vaezoo.register.likelihood


@likelihood("coin")
class Coin(vaezoo.Likelihood):
    """Bernoulli on logits."""

    measures = ("binary",)

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.parameter_shape = spec.shape

    def log_prob(self, x, parameters):
        return (x * parameters - F.softplus(parameters)).flatten(2).sum(-1)

    def mean(self, parameters):
        return parameters.sigmoid()

    def sample(self, parameters):
        return (vaezoo.noise.uniform(*parameters.shape) < parameters.sigmoid()).to(parameters)


@likelihood("coin-clamped-wrong")
class CoinClampedWrong(Coin):
    """Probabilities clamped at 1e-5: no gradient far out."""

    def log_prob(self, x, parameters):
        p = parameters.sigmoid().clamp(1e-5, 1 - 1e-5)
        return (x * p.log() + (1 - x) * (1 - p).log()).flatten(2).sum(-1)


@likelihood("coin-logs-wrong")
class CoinLogsWrong(Coin):
    """Logarithms of probabilities: infinite far out."""

    def log_prob(self, x, parameters):
        p = parameters.sigmoid()
        return (x * p.log() + (1 - x) * (1 - p).log()).flatten(2).sum(-1)


@likelihood("coin-padded-wrong")
class CoinPaddedWrong(Coin):
    """A little is added to each probability: they do not sum to 1."""

    def log_prob(self, x, parameters):
        p = parameters.sigmoid()
        return (x * (p + 1e-3).log() + (1 - x) * (1 - p + 1e-3).log()).flatten(2).sum(-1)


@likelihood("plain-coin-white-wrong")
class PlainCoinWhiteWrong(Coin):
    """The gradient of white pixels is a tenth too large."""

    def log_prob(self, x, parameters):
        return super().log_prob(x, parameters + 0.1 * x * (parameters - parameters.detach()))


@likelihood("flips-channel-wrong")
class FlipsChannelWrong(Coin):
    """The second channel is scored with the first one's pixels."""

    def log_prob(self, x, parameters):
        x = torch.cat([x[:, :1], x[:, :1], x[:, 2:]], 1)[:, : x.shape[1]]
        return super().log_prob(x, parameters)


@likelihood("flips-transposed-wrong")
class FlipsTransposedWrong(Coin):
    """Rows for columns where there are as many: a density of the transposed image."""

    def log_prob(self, x, parameters):
        return super().log_prob(x.transpose(-1, -2) if x.shape[-1] == x.shape[-2] else x, parameters)


@likelihood("flips-mean-wrong")
class FlipsMeanWrong(Coin):
    """The means of the channels in reverse order."""

    def mean(self, parameters):
        return parameters.sigmoid().flip(-3) if parameters.ndim > 3 else parameters.sigmoid()


@likelihood("flips-sample-wrong")
class FlipsSampleWrong(Coin):
    """One uniform number for all channels of a pixel."""

    def sample(self, parameters):
        shape = (*parameters.shape[:-3], 1, *parameters.shape[-2:])
        return (vaezoo.noise.uniform(*shape).to(parameters) < parameters.sigmoid()).to(parameters)


@likelihood("flips-square-wrong")
class FlipsSquareWrong(Coin):
    """Where there are as many samples as images, samples and images are exchanged."""

    def log_prob(self, x, parameters):
        value = super().log_prob(x, parameters)
        return value.T if value.shape[0] == value.shape[1] else value


@likelihood("bell")
class Bell(vaezoo.Likelihood):
    """N(x; mean, std^2) with one learned std."""

    measures = ("continuous",)
    factor = 1.0

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.parameter_shape, self.log_std = spec.shape, nn.Parameter(torch.zeros(()))

    def spread(self, x, parameters):
        """log std."""
        return self.log_std

    def log_prob(self, x, parameters):
        log_std = self.spread(x, parameters)
        eps = (x - parameters) * (-log_std).exp()
        return -(0.5 * eps**2 + log_std + HALF_LOG_TWO_PI).flatten(2).sum(-1)

    def mean(self, parameters):
        return parameters

    def sample(self, parameters):
        return parameters + self.factor * self.log_std.exp() * vaezoo.noise.normal(*parameters.shape).to(parameters)


@likelihood("bell-optimal-wrong")
class BellOptimalWrong(Bell):
    """The std that suits the batch best: it sees the test images."""

    def spread(self, x, parameters):
        return 0.5 * ((x - parameters) ** 2).mean().log() + 0 * self.log_std


@likelihood("bell-sample-wrong")
class BellSampleWrong(Bell):
    """Samples narrower than the density."""

    factor = 0.7


@likelihood("bell-mean-wrong")
class BellMeanWrong(Bell):
    """A mean that is not the mean."""

    def mean(self, parameters):
        return parameters.sigmoid()


@likelihood("several")
class Several(Bell):
    """Scores two measures, each by a density of its own."""

    measures = ("continuous", "binary")

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__(spec)
        self.binary = spec.measure == "binary"

    def log_prob(self, x, parameters):
        if self.binary:
            return (x * parameters - F.softplus(parameters)).flatten(2).sum(-1) + 0 * self.log_std
        return super().log_prob(x, parameters)

    def mean(self, parameters):
        return parameters.sigmoid() if self.binary else parameters

    def sample(self, parameters):
        if self.binary:
            return (vaezoo.noise.uniform(*parameters.shape) < parameters.sigmoid()).to(parameters)
        return super().sample(parameters)


@likelihood("several-wrong")
class SeveralWrong(Several):
    """Only the first of its measures is right: a density where probabilities are wanted."""

    def log_prob(self, x, parameters):
        return Bell.log_prob(self, x, parameters)


@likelihood("bins")
class Bins(vaezoo.Likelihood):
    """A logistic variable of scale e^raw falls into the pixel's bin; the first and last bins reach to infinity."""

    measures = ("discrete",)
    edges = True

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.parameter_shape, self.levels = spec.shape, spec.levels

    def log_prob(self, x, parameters):
        half = 0.5 / (self.levels - 1)
        above, below = 5 * (x + half - parameters), 5 * (x - half - parameters)
        inside = torch.log(-torch.expm1(below - above))
        value = F.logsigmoid(above) + F.logsigmoid(-below) + inside
        if self.edges:
            value = torch.where(x < half, F.logsigmoid(above), value)
            value = torch.where(x > 1 - half, F.logsigmoid(-below), value)
        return value.flatten(2).sum(-1)

    def mean(self, parameters):
        half = 0.5 / (self.levels - 1)
        steps = [torch.sigmoid(5 * (parameters - k / (self.levels - 1) + half)) for k in range(1, self.levels)]
        return sum(steps) / (self.levels - 1)

    def sample(self, parameters):
        value = parameters + vaezoo.noise.uniform(*parameters.shape).to(parameters).logit() / 5
        return (value * (self.levels - 1)).round().clamp(0, self.levels - 1) / (self.levels - 1)


@likelihood("bins-wrong")
class BinsWrong(Bins):
    """Without the edge bins: what lies beyond them is lost."""

    edges = False


@likelihood("arrivals")
class Arrivals(vaezoo.Likelihood):
    """Poisson counts of log rate."""

    measures = ("counts",)

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.parameter_shape = spec.shape

    def log_prob(self, x, parameters):
        return (x * parameters - parameters.exp() - torch.lgamma(x + 1)).flatten(2).sum(-1)

    def mean(self, parameters):
        return parameters.exp()

    def sample(self, parameters):
        left, count = vaezoo.noise.uniform(*parameters.shape).to(parameters), torch.zeros_like(parameters)
        term = (-parameters.exp()).exp()
        for k in range(1, 100):
            left = left - term
            count, term = count + (left > 0), term * parameters.exp() / k
        return count


@likelihood("arrivals-wrong")
class ArrivalsWrong(Arrivals):
    """Without log x!."""

    def log_prob(self, x, parameters):
        return (x * parameters - parameters.exp()).flatten(2).sum(-1)


@likelihood("arrivals-mean-wrong")
class ArrivalsMeanWrong(Arrivals):
    """The log rate for the rate."""

    def mean(self, parameters):
        return parameters


@likelihood("arrivals-sample-wrong")
class ArrivalsSampleWrong(Arrivals):
    """Counts from 1."""

    def sample(self, parameters):
        return super().sample(parameters) + 1


@likelihood("unit-interval")
class UnitInterval(vaezoo.Likelihood):
    """The continuous Bernoulli on [0, 1]: e^(l x) l / (e^l - 1)."""

    measures = ("continuous",)

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        if spec.levels is None:
            raise vaezoo.Skip("needs images in [0, 1]")
        self.parameter_shape = spec.shape

    def log_prob(self, x, parameters):
        return (x * parameters + self.constant(parameters)).flatten(2).sum(-1)

    def constant(self, parameters):
        """-log of the integral of e^(l x), by its series about 0."""
        small = parameters.abs() < 1e-2
        size = torch.where(small, 1.0, parameters.abs())
        far = -(torch.log(-torch.expm1(-size)) - size.log()) - F.relu(parameters)
        return torch.where(small, -parameters / 2 - parameters**2 / 24, far)

    def mean(self, parameters):
        small = parameters.abs() < 1e-2
        size = torch.where(small, 1.0, parameters)
        return torch.where(small, 0.5 + parameters / 12, 1 / (1 - (-size).exp()) - 1 / size)


@likelihood("unit-interval-wrong")
class UnitIntervalWrong(UnitInterval):
    """The Bernoulli's constant."""

    def constant(self, parameters):
        return -F.softplus(parameters)
