"""Wrong objectives, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch

import vaezoo

objective = vaezoo.register.objective


def log_weight(draws):
    """log w_k at the weight of the KL. [K, B]"""
    return draws.log_likelihood + draws.kl_weight * (draws.log_prior - draws.log_posterior).sum(0)


@objective("many")
class Many(vaezoo.Objective):
    """log (1/K) sum_k w_k."""

    importance_samples, lower_bound, fewer = 5, True, 0

    def forward(self, draws):
        weight = log_weight(draws)
        return weight.logsumexp(0) - math.log(max(1, len(weight) - self.fewer))


@objective("many-wrong")
class ManyWrong(Many):
    """K off by one. Without a claimed formula only the comparison with log p(x) shows it."""

    fewer = 1


@objective("claims")
class Claims(vaezoo.Objective):
    """E_q[log w]."""

    def estimates(self, draws):
        return vaezoo.bounds.elbo(draws)

    def forward(self, draws):
        return draws.log_likelihood.mean(0) - draws.kl_weight * draws.kl_estimate


@objective("entropy-wrong")
class EntropyWrong(Claims):
    """The entropy of q is dropped."""

    def forward(self, draws):
        return (draws.log_likelihood + draws.log_prior.sum(0)).mean(0)


@objective("sign-wrong")
class SignWrong(Claims):
    """The sign of log q."""

    def forward(self, draws):
        return (draws.log_likelihood + (draws.log_prior + draws.log_posterior).sum(0)).mean(0)


@objective("swapped-wrong")
class SwappedWrong(Claims):
    """Prior and posterior swapped in the KL."""

    def forward(self, draws):
        q = draws.q.gaussian
        swapped = q.log_std + 0.5 * (1 + q.mean**2) * (-2 * q.log_std).exp() - 0.5
        return draws.log_likelihood.mean(0) - swapped.sum(-1)


@objective("groups")
class Groups(vaezoo.Objective):
    """MIWAE: the mean over M groups of the log of the mean of their K' weights."""

    importance_samples, axis = 8, 1

    def estimates(self, draws):
        if len(draws.log_weight) % 2:
            return draws.log_weight.mean(0)
        first, second = draws.log_weight.chunk(2)
        return 0.5 * (first.exp().mean(0).log() + second.exp().mean(0).log())

    def forward(self, draws):
        if len(draws.log_weight) % 2:
            return log_weight(draws).mean(0)
        weight = log_weight(draws).unflatten(0, (2, -1))
        return (weight.logsumexp(self.axis) - math.log(weight.shape[self.axis])).mean(0)


@objective("groups-wrong")
class GroupsWrong(Groups):
    """The wrong axis: four groups of two."""

    axis = 0


@objective("coupled")
class Coupled(vaezoo.Objective):
    """Looks at the mean of the batch, and says so."""

    batch_coupled = True

    def forward(self, draws):
        q = draws.q.gaussian
        return vaezoo.bounds.elbo(draws) - (q.mean.mean(0) ** 2).sum()


@objective("coupled-wrong")
class CoupledWrong(Coupled):
    """Does not say so."""

    batch_coupled = False


@objective("coupled-scalar-wrong")
class CoupledScalarWrong(CoupledWrong):
    """One number for the batch, and still does not say so."""

    def forward(self, draws):
        return super().forward(draws).mean()


@objective("scalar")
class Scalar(Claims):
    """The mean of the batch."""

    def forward(self, draws):
        return super().forward(draws).mean()


@objective("scalar-wrong")
class ScalarWrong(Scalar):
    """The sum of the batch."""

    def forward(self, draws):
        return Claims.forward(self, draws).sum()


@objective("surrogate")
class Surrogate(vaezoo.Objective):
    """sum_k stop(w_k / sum w) log w_k, whose gradient is that of log sum_k w_k."""

    importance_samples, surrogate, axis = 4, True, 0

    def estimates(self, draws):
        return vaezoo.bounds.iwll(draws)

    def forward(self, draws):
        share = log_weight(draws).softmax(self.axis).detach()
        return (share * log_weight(draws)).sum(0)


@objective("surrogate-wrong")
class SurrogateWrong(Surrogate):
    """The softmax over the batch."""

    axis = 1
    batch_coupled = True


@objective("landing")
class Landing(vaezoo.Objective):
    """Sticking the landing: log q with its weights stopped; the same mean gradient, another one each time."""

    def estimates(self, draws):
        return vaezoo.bounds.elbo(draws)

    def forward(self, draws):
        ratio = (draws.log_prior - draws.log_posterior_stopped).sum(0)
        return (draws.log_likelihood + draws.kl_weight * ratio).mean(0)


@objective("landing-wrong")
class LandingWrong(Landing):
    """Stops log q altogether, and the pull towards it."""

    def forward(self, draws):
        log_q = draws.log_posterior.detach()
        return (draws.log_likelihood + (draws.log_prior - log_q).sum(0)).mean(0)


@objective("shape-wrong")
class ShapeWrong(Claims):
    """A number for each sample."""

    def forward(self, draws):
        return draws.log_weight


@objective("infinite-gradient")
class InfiniteGradient(Claims):
    """Finite gradients."""

    one_group = True  # of several groups q has no `gaussian`

    def forward(self, draws):
        return super().forward(draws) - (draws.q.gaussian.mean**2).sum(-1).add(1e-12).sqrt() * 0


@objective("infinite-gradient-wrong")
class InfiniteGradientWrong(InfiniteGradient):
    """The root of what is 0: its gradient is NaN."""

    def forward(self, draws):
        mean = draws.q.gaussian.mean
        return Claims.forward(self, draws) + torch.sqrt(((mean - mean) ** 2).sum(-1))


@objective("by-groups")
class ByGroups(vaezoo.Objective):
    """The importance-weighted bound, the encoder's gradient doubly reparameterised."""

    importance_samples, surrogate, power = 5, True, 2

    def estimates(self, draws):
        return vaezoo.bounds.iwll(draws)

    def forward(self, draws):
        weight, ratio = draws.kl_weight, (draws.log_prior - draws.log_posterior_stopped).sum(0)
        share = log_weight(draws).detach().softmax(0)
        power = share + weight * (share**self.power - share)
        bound = log_weight(draws).logsumexp(0) - math.log(len(share))
        return {"inference": (power * (draws.log_likelihood + weight * ratio)).sum(0), "generative": bound}


@objective("by-groups-power-wrong")
class ByGroupsPowerWrong(ByGroups):
    """Normalised weights that are not squared."""

    power = 1


@objective("by-groups-sign-wrong")
class ByGroupsSignWrong(ByGroups):
    """The decoder descends."""

    def forward(self, draws):
        value = super().forward(draws)
        return {**value, "generative": -value["generative"]}


@objective("by-groups-names-wrong")
class ByGroupsNamesWrong(ByGroups):
    """Claims a formula for a group that it has no value for."""

    def estimates(self, draws):
        return {"own": vaezoo.bounds.iwll(draws)}
