"""Wrong plugins that are right at the start, in the middle or for one latent group, and wrong farther out, each beside
its right twin: NAME is right, NAME-KIND-wrong is not.
"""

import functools
import math

import torch
from torch import nn
from torch.nn import functional as F

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@vaezoo.register.decoder("limited")
class Limited(vaezoo.Decoder):
    """One hidden layer; activations above 6 are scaled down to it, for each row alone."""

    def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__()
        self.hidden, self.last = nn.Linear(latent, 16), nn.Linear(16, math.prod(parameter_shape))
        self.parameter_shape = parameter_shape

    def largest(self, h):
        """The largest activation of each row."""
        return h.amax(-1, keepdim=True)

    def forward(self, z):
        h = self.hidden(z).relu()
        return self.last(h * 6 / self.largest(h).clamp(min=6)).view(-1, *self.parameter_shape)


@vaezoo.register.decoder("limited-batch-wrong")
class LimitedBatchWrong(Limited):
    """All rows are scaled by the largest activation of the batch, seen only with large weights."""

    def largest(self, h):
        return h.amax()


@vaezoo.register.objective("floored")
class Floored(vaezoo.Objective):
    """log p(x|z) - w sum_j max(KL_j, 0.05), for each image alone."""

    lower_bound = True

    def lacking(self, kl):
        """What each KL [B, Z] lacks to the floor."""
        return (0.05 - kl).clamp(min=0)

    def forward(self, draws):
        if draws.kl is None:
            return draws.log_likelihood.mean(0) - draws.kl_weight * draws.kl_estimate
        floored = sum((kl + self.lacking(kl)).sum(-1) for kl in draws.kl)
        return draws.log_likelihood.mean(0) - draws.kl_weight * floored


@vaezoo.register.objective("floored-batch-wrong")
class FlooredBatchWrong(Floored):
    """The floor is under the mean KL of the batch, seen only where q is near p; it does not say batch_coupled."""

    def lacking(self, kl):
        return super().lacking(kl.mean(0))


@vaezoo.register.objective("summed")
class Summed(vaezoo.Objective):
    """E_q[log p(x|z)] - w KL, with the KL of all latent groups."""

    lower_bound = True

    def counted(self, groups):
        """The groups whose KL counts."""
        return groups

    def estimates(self, draws):
        return vaezoo.bounds.elbo(draws)

    def forward(self, draws):
        if draws.kl is not None:
            kl = sum(group.sum(-1) for group in self.counted(draws.kl))
        else:
            kl = self.counted(draws.log_posterior - draws.log_prior).sum(0).mean(0)
        return draws.log_likelihood.mean(0) - draws.kl_weight * kl


@vaezoo.register.objective("summed-first-wrong")
class SummedFirstWrong(Summed):
    """The first group alone, without one_group: right for a model with one."""

    def counted(self, groups):
        return groups[:1]


class Normal(vaezoo.DiagonalGaussian):
    """N(mean, diag(std^2)) that scores points by their distance in standard deviations."""

    def kept(self, eps):
        """The distances that are scored."""
        return eps

    def log_prob(self, z):
        """log q(z|x) of given points."""
        eps = self.kept((z[0] - self.mean) * (-self.log_std).exp())
        return -(0.5 * eps.square() + self.log_std + HALF_LOG_TWO_PI).sum(-1)[None]


@vaezoo.register.posterior("scoring")
class Scoring(vaezoo.Posterior):
    """A Gaussian with linear heads."""

    kind = Normal

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Linear(math.prod(features), 2 * latent)

    def forward(self, features):
        return self.kind.from_heads(self.heads(features.flatten(1)))


@vaezoo.register.posterior("scoring-clamp-wrong")
class ScoringClampWrong(Scoring):
    """Given points farther than 6 standard deviations from the mean score as if they were there."""

    class kind(Normal):
        def kept(self, eps):
            return eps.clamp(-6, 6)


class Ridge:
    """N(mean, diag(std^2) + v v')."""

    gaussian = None

    def __init__(self, mean, log_std, v):
        self.mean, self.log_std, self.v = mean, log_std, v

    @property
    def root(self):
        """a = v / std, and the square root of the determinant of I + a a'. [B, Z] and [B, 1]"""
        a = self.v * (-self.log_std).exp()
        return a, (1 + a.square().sum(-1, keepdim=True)).sqrt()

    def rsample_and_log_prob(self, samples):
        """z and log q: I + a a' / (1 + root) is the square root of I + a a'."""
        (a, root), eps = self.root, vaezoo.noise.normal(samples, *self.mean.shape).to(self.mean)
        correlated = eps + a * (eps * a).sum(-1, keepdim=True) / (1 + root)
        return (self.mean + self.log_std.exp() * correlated,), self.score(eps)

    def score(self, eps):
        """log q(z|x) by the noise of z. [1, K, B]"""
        return -(0.5 * eps.square() + self.log_std + HALF_LOG_TWO_PI).sum(-1)[None] - self.root[1].log().sum(-1)

    def log_prob(self, z):
        """log q(z|x)."""
        (a, root), eps = self.root, (z[0] - self.mean) * (-self.log_std).exp()
        return self.score(eps - a * (eps * a).sum(-1, keepdim=True) / (root * (1 + root)))


@vaezoo.register.posterior("ridge")
class RidgeHeads(vaezoo.Posterior):
    """A correlated Gaussian, diagonal at the start, where v is 0."""

    kind = Ridge

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads, self.v = (nn.Linear(math.prod(features), n * latent) for n in (2, 1))
        nn.init.zeros_(self.v.weight)
        nn.init.zeros_(self.v.bias)

    def forward(self, features):
        flat = features.flatten(1)
        diagonal = vaezoo.DiagonalGaussian.from_heads(self.heads(flat))
        return self.kind(diagonal.mean, diagonal.log_std, self.v(flat))


@vaezoo.register.posterior("ridge-marginals-wrong")
class RidgeMarginalsWrong(RidgeHeads):
    """Its `gaussian` has the marginals of q and no correlation: q itself only at the start."""

    class kind(Ridge):
        @property
        def gaussian(self):
            variance = (2 * self.log_std).exp() + self.v.square()
            return vaezoo.DiagonalGaussian(self.mean, 0.5 * variance.log())


@vaezoo.register.likelihood("two-logs")
class TwoLogs(vaezoo.Likelihood):
    """Bernoulli on logits, from log p(1) and log p(0)."""

    measures = ("binary",)
    lowest = -math.inf

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.parameter_shape = spec.shape

    def log_prob(self, x, parameters):
        one, zero = (F.logsigmoid(sign * parameters).clamp(min=self.lowest) for sign in (1, -1))
        return (x * one + (1 - x) * zero).flatten(2).sum(-1)

    def mean(self, parameters):
        return parameters.sigmoid()

    def sample(self, parameters):
        return (vaezoo.noise.uniform(*parameters.shape).to(parameters) < parameters.sigmoid()).to(parameters)


@vaezoo.register.likelihood("two-logs-floor-wrong")
class TwoLogsFloorWrong(TwoLogs):
    """No value is rarer than 1e-4: a saturated pixel's two values sum to 1.0001."""

    lowest = math.log(1e-4)


def small(parameters):
    """Where |l| is below 0.3; l there, else 0; l elsewhere, else 1."""
    near = parameters.abs() < 0.3
    return near, torch.where(near, parameters, 0), torch.where(near, 1, parameters)


@vaezoo.register.likelihood("tilted")
class Tilted(vaezoo.Likelihood):
    """Continuous Bernoulli: l e^(l x) / (e^l - 1) on [0, 1], by series where l is small."""

    measures = ("continuous",)
    second = 1 / 24

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        if spec.levels is None:
            raise vaezoo.Skip("it takes images in [0, 1], those with levels")
        self.parameter_shape = spec.shape

    def log_prob(self, x, parameters):
        near, low, high = small(parameters)
        exact = high.clamp(min=0) + (-torch.expm1(-high.abs())).log() - high.abs().log()
        square = low.square()
        series = low / 2 + square * (self.second - square * (1 / 2880 - square * (1 / 181440 - square / 9676800)))
        value = (x * parameters - torch.where(near, series, exact)).flatten(2).sum(-1)
        return value.masked_fill(((x < 0) | (x > 1)).flatten(1).any(-1), -math.inf)

    def mean(self, parameters):
        near, low, high = small(parameters)
        square = low.square()
        series = 0.5 + low * (1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600)))
        return torch.where(near, series, -1 / torch.expm1(-high) - 1 / high)

    def sample(self, parameters):
        u = vaezoo.noise.uniform(*parameters.shape).to(parameters)
        flat = parameters.abs() < 1e-3
        size = torch.where(flat, 1, parameters.abs())
        falling = -torch.log1p(u * torch.expm1(-size)) / size
        rising = torch.where(parameters > 0, 1 - falling, falling)
        return torch.where(flat, u + parameters / 2 * u * (1 - u), rising)


@vaezoo.register.likelihood("tilted-series-wrong")
class TiltedSeriesWrong(Tilted):
    """l^2 / 12 for l^2 / 24 in the series, seen only where l is small."""

    second = 1 / 12


@vaezoo.register.prior("averaged")
class Averaged(vaezoo.Prior):
    """A mixture of slow averages of q(z|x) of four images; q(z|x) itself before the first update."""

    def __init__(self, latent: int, train_images):
        super().__init__()
        self.register_buffer("images", train_images(4))
        self.register_buffer("mean", torch.zeros(4, latent))
        self.register_buffer("log_std", torch.zeros(4, latent))
        self.register_buffer("updates", torch.zeros(()))

    def fresh(self, encode):
        """Mean and log std of q(z|x) of the images. Two of [4, Z]"""
        if (q := encode(self.images).gaussian) is None:
            raise vaezoo.Skip("it takes a Gaussian posterior")
        return q.mean, q.log_std.expand_as(q.mean)

    def slow(self, encode):
        """Their averages."""
        pairs = zip((self.mean, self.log_std), self.fresh(encode), strict=True)
        return tuple(torch.where(self.updates > 0, kept, new) for kept, new in pairs)

    drawn = slow
    """The components that samples are drawn of."""

    def log_density(self, z, encode):
        return vaezoo.mixture_log_density(z, *self.slow(encode), z.new_full((4,), -math.log(4)))

    def sample(self, n, encode):
        mean, log_std = self.drawn(encode)
        chosen = (vaezoo.noise.uniform(n) * 4).long().clamp(max=3)
        return vaezoo.DiagonalGaussian(mean[chosen], log_std[chosen]).draw()

    def update(self, draws):
        keep = torch.where(self.updates > 0, 0.9, 0.0)
        for kept, new in zip((self.mean, self.log_std), self.fresh(draws.model.encode), strict=True):
            kept.copy_(keep * kept + (1 - keep) * new)
        self.updates.add_(1)


@vaezoo.register.prior("averaged-fresh-wrong")
class AveragedFreshWrong(Averaged):
    """Samples are of q(z|x) of now, the density is of the averages: alike until the first update."""

    drawn = Averaged.fresh


def factor(raw):
    """L of a [Z, Z] parameter: its lower triangle, with exp on the diagonal."""
    return raw.tril(-1) + raw.diagonal().exp().diag()


@functools.lru_cache(maxsize=64)
def factor_once(raw):
    """L, computed once for each tensor, whatever its numbers become."""
    return factor(raw.detach())


@vaezoo.register.prior("triangular")
class Triangular(vaezoo.Prior):
    """N(mean, L L'), both learned."""

    def __init__(self, latent: int):
        super().__init__()
        self.mean, self.raw = nn.Parameter(torch.zeros(latent)), nn.Parameter(torch.zeros(latent, latent))

    def drawn_by(self):
        """The L that samples are drawn with."""
        return factor(self.raw)

    def log_density(self, z):
        lower = factor(self.raw).expand(*z.shape[:-1], -1, -1)
        eps = torch.linalg.solve_triangular(lower, (z - self.mean).unsqueeze(-1), upper=False).squeeze(-1)
        return -(0.5 * eps.square() + HALF_LOG_TWO_PI + self.raw.diagonal()).sum(-1)

    def sample(self, n):
        lower = self.drawn_by()
        return self.mean + vaezoo.noise.normal(n, len(self.mean)).to(lower) @ lower.T


@vaezoo.register.prior("triangular-cache-wrong")
class TriangularCacheWrong(Triangular):
    """L is cached by the identity of the parameter: after a step of training samples follow the first L."""

    def drawn_by(self):
        return factor_once(self.raw)
