"""Wrong gradients, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn
from torch.nn import functional as F

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
encoder, posterior, prior = vaezoo.register.encoder, vaezoo.register.posterior, vaezoo.register.prior
decoder = vaezoo.register.decoder


class Scaled(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor of its own for each element."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value, factor):
        return value.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


class Spread:
    """N(mean, diag(std^2)) written by hand, whose log_std is clamped."""

    gaussian, scored = None, 6.0

    def __init__(self, mean, log_std):
        self.mean, self.log_std = mean, log_std.clamp(-6, 6)
        self.scoring = log_std.clamp(-self.scored, self.scored)

    def rsample_and_log_prob(self, samples):
        """z and log q."""
        eps = vaezoo.noise.normal(samples, *self.mean.shape)
        z = self.mean + self.log_std.exp() * eps
        return (z,), self.log_prob((z,))

    def log_prob(self, z):
        """log q(z|x)."""
        eps = (z[0] - self.mean) * (-self.scoring).exp()
        return -(0.5 * eps**2 + self.scoring + HALF_LOG_TWO_PI).sum(-1)[None]


@posterior("spread")
class SpreadPosterior(vaezoo.Posterior):
    """The right twin: two linear heads for a `Spread`."""

    kind = Spread

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Linear(math.prod(features), 2 * latent)

    def seen(self, features):
        """The features that the heads get. [B, F]"""
        return features.flatten(1)

    def forward(self, features):
        return self.kind(*self.heads(self.seen(features)).chunk(2, -1))


@posterior("spread-mean-wrong")
class SpreadMeanWrong(SpreadPosterior):
    """The mean is cut from the graph in z, and not in log q."""

    class kind(Spread):
        def rsample_and_log_prob(self, samples):
            (z,), log_q = super().rsample_and_log_prob(samples)
            return (z - self.mean + self.mean.detach(),), log_q


@posterior("spread-twice-wrong")
class SpreadTwiceWrong(SpreadPosterior):
    """The gradient by the features is twice too large."""

    def seen(self, features):
        return Scaled.apply(features.flatten(1), torch.full_like(features.flatten(1), 2))


@posterior("spread-in-training-wrong")
class SpreadInTrainingWrong(SpreadPosterior):
    """The gradient of log_std is scaled by 1.1 in train mode."""

    def forward(self, features):
        mean, log_std = self.heads(self.seen(features)).chunk(2, -1)
        return self.kind(mean, Scaled.apply(log_std, torch.full_like(log_std, 1.1 if self.training else 1.0)))


@posterior("spread-far-wrong")
class SpreadFarWrong(SpreadPosterior):
    """The gradient of log_std lacks a half where it is large, as with a clamp that has a slope."""

    def forward(self, features):
        mean, log_std = self.heads(self.seen(features)).chunk(2, -1)
        return self.kind(mean, Scaled.apply(log_std, torch.where(log_std.abs() > 2.5, 0.5, 1.0).to(log_std)))


@posterior("spread-clamp-wrong")
class SpreadClampWrong(SpreadPosterior):
    """log q clamps log_std elsewhere than z does."""

    class kind(Spread):
        scored = 4.0


@posterior("spread-score-wrong")
class SpreadScoreWrong(SpreadPosterior):
    """A term of log q is cut from the graph where given points are scored."""

    class kind(Spread):
        def log_prob(self, z):
            eps = (z[0] - self.mean) * (-self.log_std).exp()
            return -(0.5 * eps**2 + self.log_std.detach() + HALF_LOG_TWO_PI).sum(-1)[None]


class TwoBells:
    """In each dimension w N(mean, 1) + (1 - w) N(-mean, 1), drawn by a choice, with the implicit gradient."""

    gaussian = None

    def __init__(self, mean, logit):
        self.mean, self.share = mean, logit.sigmoid()

    def density(self, z):
        """Density of each dimension."""
        bell = lambda at: (-0.5 * (z - at) ** 2 - HALF_LOG_TWO_PI).exp()  # noqa: E731
        return self.share * bell(self.mean) + (1 - self.share) * bell(-self.mean)

    def cdf(self, z):
        """Distribution function of each dimension."""
        below = torch.special.ndtr
        return self.share * below(z - self.mean) + (1 - self.share) * below(z + self.mean)

    def drawn(self, samples):
        """z by a choice of the bell."""
        shape = (samples, *self.mean.shape)
        first = vaezoo.noise.uniform(*shape).to(self.mean) < self.share
        return torch.where(first, self.mean, -self.mean) + vaezoo.noise.normal(*shape)

    def reparameterised(self, samples):
        """dz = -dF / f. Figurnov et al. (2018), arXiv:1805.08498."""
        z = self.drawn(samples).detach()
        moving = self.cdf(z)
        return z - (moving - moving.detach()) / self.density(z).detach()

    def rsample_and_log_prob(self, samples):
        """z and log q."""
        z = self.reparameterised(samples)
        return (z,), self.log_prob((z,))

    def log_prob(self, z):
        """log q(z|x)."""
        return self.density(z[0]).log().sum(-1)[None]


@posterior("two-bells")
class TwoBellsPosterior(vaezoo.Posterior):
    """The right twin: an implicit mixture."""

    kind = TwoBells

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.mean = nn.Linear(math.prod(features), latent)
        self.logit = nn.Linear(math.prod(features), latent)

    def forward(self, features):
        flat = features.flatten(1)
        return self.kind(1 + self.mean(flat).sigmoid(), 2 * self.logit(flat).tanh())


@posterior("two-bells-choice-wrong")
class TwoBellsChoiceWrong(TwoBellsPosterior):
    """The gradient of the bell that was chosen: none by the weights through z."""

    class kind(TwoBells):
        def reparameterised(self, samples):
            return self.drawn(samples)


@posterior("two-bells-sign-wrong")
class TwoBellsSignWrong(TwoBellsPosterior):
    """The implicit gradient with the wrong sign, which keeps every value."""

    class kind(TwoBells):
        def reparameterised(self, samples):
            z = super().reparameterised(samples)
            return 2 * z.detach() - z


@encoder("hard-units")
class HardUnits(vaezoo.Encoder):
    """Binary units with a straight-through gradient, which it declares."""

    surrogate = True

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.net, self.features = nn.Linear(spec.dimensions, 8), (8,)

    def forward(self, x):
        h = self.net(x.flatten(1)).sigmoid()
        return (h > 0.5).to(h) + h - h.detach()


@encoder("hard-units-wrong")
class HardUnitsWrong(HardUnits):
    """Does not declare it."""

    surrogate = False


@encoder("rectified")
class Rectified(vaezoo.Encoder):
    """Kinks everywhere: rectified units of clamped pixels."""

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.net, self.features = nn.Linear(spec.dimensions, 8), (8,)

    def forward(self, x):
        return F.leaky_relu(self.net(x.flatten(1).clamp(0, 1)), 0.3).clamp(-2, 2)


@encoder("rectified-hook-wrong")
class RectifiedHookWrong(Rectified):
    """A hook halves the gradient in train mode."""

    def forward(self, x):
        h = super().forward(x)
        if self.training and h.requires_grad:
            h.register_hook(lambda grad: grad / 2)
        return h


@decoder("wide")
class Wide(vaezoo.Decoder):
    """Two layers."""

    def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__()
        self.shape = parameter_shape
        self.first, self.last = nn.Linear(latent, 8), nn.Linear(8, math.prod(parameter_shape))

    def bent(self, z):
        """The hidden units. [N, 8]"""
        return self.first(z).tanh()

    def forward(self, z):
        return self.last(self.bent(z)).unflatten(-1, self.shape)


@decoder("wide-far-wrong")
class WideFarWrong(Wide):
    """The gradient by z is cut where z is large."""

    def bent(self, z):
        return super().bent(Scaled.apply(z, (z.abs() < 8).to(z)))


@prior("pair-of-bells")
class PairOfBells(vaezoo.Prior):
    """w N(mean, I) + (1 - w) N(-mean, I)."""

    def __init__(self, latent: int):
        super().__init__()
        self.mean, self.logit = nn.Parameter(torch.ones(latent)), nn.Parameter(torch.zeros(()))

    def share(self):
        """log w and log (1 - w)."""
        return F.logsigmoid(self.logit), F.logsigmoid(-self.logit)

    def log_density(self, z):
        first, second = self.share()
        each = [-(0.5 * (z - at) ** 2 + HALF_LOG_TWO_PI).sum(-1) for at in (self.mean, -self.mean)]
        return torch.logaddexp(each[0] + first, each[1] + second)

    def sample(self, n):
        first = vaezoo.noise.uniform(n, 1).to(self.mean) < self.logit.sigmoid()
        return torch.where(first, self.mean, -self.mean) + vaezoo.noise.normal(n, len(self.mean))


@prior("pair-of-bells-half-wrong")
class PairOfBellsHalfWrong(PairOfBells):
    """The normaliser of the weights is cut from the graph."""

    def share(self):
        total = F.softplus(self.logit).detach()
        return self.logit - total, -total
