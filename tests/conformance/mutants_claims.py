"""Wrong claims of objectives, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn

import vaezoo

objective = vaezoo.register.objective


def log_ratio(draws):
    """log p(z) - log q(z|x). [K, B]"""
    return (draws.log_prior - draws.log_posterior).sum(0)


def log_mean_exp(value):
    return value.logsumexp(0) - math.log(len(value))


# --- the weight of the KL


@objective("warm")
class Warm(vaezoo.Objective):
    """E[log p(x|z)] - w KL."""

    lower_bound = True

    def estimates(self, draws):
        return vaezoo.bounds.elbo(draws)

    def forward(self, draws):
        return self.weighted(draws.log_likelihood, log_ratio(draws), draws.kl_weight).mean(0)

    def weighted(self, reconstruction, ratio, weight):
        return reconstruction + weight * ratio


@objective("warm-squared-wrong")
class WarmSquared(Warm):
    """The weight twice."""

    def weighted(self, reconstruction, ratio, weight):
        return reconstruction + weight**2 * ratio


@objective("warm-reconstruction-wrong")
class WarmReconstruction(Warm):
    """The weight of the other term."""

    def weighted(self, reconstruction, ratio, weight):
        return weight * reconstruction + ratio


@objective("warm-ignored-wrong")
class WarmIgnored(Warm):
    """No weight."""

    def weighted(self, reconstruction, ratio, weight):
        return reconstruction + ratio


@objective("warm-everything-wrong")
class WarmEverything(Warm):
    """The weight of both terms."""

    def weighted(self, reconstruction, ratio, weight):
        return weight * (reconstruction + ratio)


@objective("warm-prior-wrong")
class WarmPrior(Warm):
    """The weight of log p(z), not of log q(z|x)."""

    def forward(self, draws):
        ratio = (draws.kl_weight * draws.log_prior - draws.log_posterior).sum(0)
        return (draws.log_likelihood + ratio).mean(0)


@objective("warm-floor-wrong")
class WarmFloor(Warm):
    """The weight is at least a tenth, so that only 0 shows it."""

    def weighted(self, reconstruction, ratio, weight):
        return reconstruction + weight.clamp(min=0.1) * ratio


@objective("floored-kl")
class FreeBits(vaezoo.Objective):
    """E[log p(x|z)] - w sum_j max(0.5, KL_j): its formula of weighted draws is another."""

    one_group = True

    def estimates(self, draws):
        return draws.log_likelihood.mean(0) - draws.kl[0].clamp(min=0.5).sum(-1)

    def forward(self, draws):
        return draws.log_likelihood.mean(0) - draws.kl_weight * draws.kl[0].clamp(min=0.5).sum(-1)


@objective("floored-kl-wrong")
class FreeBitsWrong(FreeBits):
    """The weight within the floor and outside it."""

    def forward(self, draws):
        kl = (draws.kl_weight * draws.kl[0]).clamp(min=0.5).sum(-1)
        return draws.log_likelihood.mean(0) - draws.kl_weight * kl


@objective("warm-path")
class WarmPath(vaezoo.Objective):
    """The path derivative of the ELBO; only its gradient is right."""

    surrogate, power = True, 1

    def estimates(self, draws):
        return vaezoo.bounds.elbo(draws)

    def forward(self, draws):
        ratio = (draws.log_prior - draws.log_posterior_stopped).sum(0)
        return 2 + (draws.log_likelihood + draws.kl_weight**self.power * ratio).mean(0)


@objective("warm-path-wrong")
class WarmPathWrong(WarmPath):
    """The weight twice, in the gradient alone."""

    power = 2


# --- the number of samples


@objective("warm-many")
class WarmMany(vaezoo.Objective):
    """log (1/K) sum_k w_k."""

    importance_samples, lower_bound = 4, True

    def estimates(self, draws):
        return vaezoo.bounds.iwll(draws)

    def forward(self, draws):
        return log_mean_exp(draws.log_likelihood + draws.kl_weight * log_ratio(draws))


@objective("warm-many-fewer-wrong")
class WarmManyFewer(WarmMany):
    """K - 1 in place of K, where there are two samples or more."""

    def forward(self, draws):
        count = len(draws.log_weight)
        return super().forward(draws) + math.log(count / max(1, count - 1))


@objective("warm-many-own-wrong")
class WarmManyOwn(WarmMany):
    """Divides by 4, however many samples there are."""

    def forward(self, draws):
        return super().forward(draws) + math.log(len(draws.log_weight) / 4)


@objective("warm-many-axis-wrong")
class WarmManyAxis(WarmMany):
    """The mean over the images within the logarithm."""

    batch_coupled = True

    def forward(self, draws):
        log_weight = draws.log_likelihood + draws.kl_weight * log_ratio(draws)
        return (log_weight.logsumexp(1) - math.log(log_weight.shape[1])).mean()


@objective("bounded")
class Bounded(vaezoo.Objective):
    """log (1/K) sum_k w_k, of which it claims only that it is a lower bound."""

    importance_samples, lower_bound = 4, True

    def forward(self, draws):
        return log_mean_exp(draws.log_likelihood + draws.kl_weight * log_ratio(draws))


@objective("bounded-twice-wrong")
class BoundedTwice(Bounded):
    """Too large with more samples than its own."""

    def forward(self, draws):
        return super().forward(draws) + max(0, len(draws.log_weight) - 4) * 0.5


@objective("bounded-loose-wrong")
class BoundedLoose(Bounded):
    """The second cumulant is added: right where q is the posterior, too large where q is loose."""

    def forward(self, draws):
        log_weight = draws.log_likelihood + draws.kl_weight * log_ratio(draws)
        return log_weight.mean(0) + 0.5 * log_weight.var(0) if len(log_weight) > 1 else log_weight.mean(0)


@objective("bounded-warm-wrong")
class BoundedWarm(Bounded):
    """Too large where the weight is below 1."""

    def forward(self, draws):
        return log_mean_exp(draws.log_likelihood + draws.kl_weight**2 * log_ratio(draws))


# --- gradients


@objective("grouped")
class Grouped(vaezoo.Objective):
    """A value for each group: the doubly reparameterised gradient of the importance-weighted bound."""

    importance_samples, surrogate, swapped = 4, True, False

    def estimates(self, draws):
        return {"inference": vaezoo.bounds.iwll(draws), "generative": vaezoo.bounds.iwll(draws)}

    def forward(self, draws):
        weight = draws.kl_weight
        ratio = (draws.log_prior - draws.log_posterior_stopped).sum(0)
        log_weight = draws.log_likelihood + weight * log_ratio(draws)
        share = log_weight.detach().softmax(0)
        squared = share + weight * (share**2 - share)
        through = (squared * (draws.log_likelihood + weight * ratio)).sum(0)
        values = {"inference": through, "generative": log_mean_exp(log_weight)}
        return dict(zip(values, reversed(values.values()), strict=True)) if self.swapped else values


@objective("grouped-swapped-wrong")
class GroupedSwapped(Grouped):
    """Each group has the other's value."""

    swapped = True


@objective("warm-detached-wrong")
class WarmDetached(Warm):
    """The right value without the gradient of log p(z)."""

    def forward(self, draws):
        ratio = (draws.log_prior.detach() - draws.log_posterior).sum(0)
        return self.weighted(draws.log_likelihood, ratio, draws.kl_weight).mean(0)


@objective("warm-doubled-wrong")
class WarmDoubled(Warm):
    """The right value with twice the gradient of the reconstruction."""

    def forward(self, draws):
        value = draws.log_likelihood.mean(0)
        return super().forward(draws) + value - value.detach()


# --- passes


@objective("warm-eval-wrong")
class WarmEval(Warm):
    """Another value in eval mode."""

    def forward(self, draws):
        return super().forward(draws) - (0.0 if self.training else 0.1)


class Ramp:
    calls = 0


@objective("warm-ramp-wrong")
class WarmRamp(Warm):
    """Counts its calls in a plain object."""

    def __init__(self):
        super().__init__()
        self.ramp = Ramp()

    def forward(self, draws):
        self.ramp.calls += 1
        return super().forward(draws) * min(1.0, self.ramp.calls / 60)


LAST = {}


@objective("warm-last-wrong")
class WarmLast(Warm):
    """Reads the images of the pass before."""

    def forward(self, draws):
        before = LAST.get("x", draws.batch.x)
        LAST["x"] = draws.batch.x
        return super().forward(draws) + 0.1 * before.mean()


# --- latents that are codes


class Bits:
    """q(z|x) of independent bits, given their logits. [B, Z]"""

    gaussian = None

    def __init__(self, logits):
        self.logits = logits

    def log_prob(self, z):
        return -(nn.functional.softplus(-self.logits) * z[0] + nn.functional.softplus(self.logits) * (1 - z[0])).sum(
            -1
        )[None]

    def rsample_and_log_prob(self, samples):
        z = ((vaezoo.noise.uniform(samples, *self.logits.shape) < self.logits.sigmoid()).to(self.logits),)
        return z, self.log_prob(z)


@vaezoo.register.posterior("bits")
class BitsPosterior(vaezoo.Posterior):
    """Independent bits."""

    support = "discrete"

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.logits = vaezoo.nets.Linear(math.prod(features), latent)

    def forward(self, features):
        return Bits(self.logits(features.flatten(1)))


@vaezoo.register.prior("bits")
class BitsPrior(vaezoo.Prior):
    """Independent bits of learned frequencies."""

    support = "discrete"

    def __init__(self, latent: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(latent))

    def log_density(self, z):
        return -(nn.functional.softplus(-self.logits) * z + nn.functional.softplus(self.logits) * (1 - z)).sum(-1)

    def sample(self, n):
        uniform = vaezoo.noise.uniform(n, len(self.logits))
        return (uniform < self.logits.sigmoid()).to(self.logits)


@objective("leave-one-out")
class Vimco(vaezoo.Objective):
    """The importance-weighted bound, of which the score of each sample learns from what the others did not know."""

    importance_samples, surrogate, lower_bound = 4, False, False

    def estimates(self, draws):
        return vaezoo.bounds.iwll(draws)

    def forward(self, draws):
        if len(draws.z[0]) < 2:
            raise vaezoo.VaezooError("it needs 2 samples or more")
        log_weight = draws.log_likelihood + draws.kl_weight * log_ratio(draws)
        bound = log_mean_exp(log_weight)
        score = draws.log_posterior.sum(0)
        signal = (bound - self.baseline(log_weight)).detach()
        return bound + (signal * (score - score.detach())).sum(0)

    def baseline(self, log_weight):
        """The bound with the mean of the other log-weights in the place of each. [K, B]"""
        count = len(log_weight)
        others = (log_weight.sum(0) - log_weight) / (count - 1)
        every = log_weight.expand(count, *log_weight.shape)
        own = torch.eye(count, dtype=torch.bool)[..., None]
        return torch.where(own, others[:, None], every).logsumexp(1) - math.log(count)


@objective("leave-one-out-sign-wrong")
class VimcoSign(Vimco):
    """A sample that raises the bound becomes rarer."""

    def baseline(self, log_weight):
        return 2 * log_mean_exp(log_weight) - super().baseline(log_weight)


@objective("leave-one-out-silent-wrong")
class VimcoSilent(Vimco):
    """No score."""

    def forward(self, draws):
        return log_mean_exp(draws.log_likelihood + draws.kl_weight * log_ratio(draws))


for _name in ("leave-one-out", "leave-one-out-sign-wrong", "leave-one-out-silent-wrong"):
    vaezoo.register.variant(vaezoo.Variant(f"{_name}-bits", posterior="bits", prior="bits", objective=_name))
