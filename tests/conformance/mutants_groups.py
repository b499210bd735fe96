"""Wrong parts of several latent groups, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def two(latents):
    """The sizes of two groups; Skip where there are not two."""
    if len(latents) != 2:
        raise vaezoo.Skip("it takes two groups")
    return latents


class TwoGroups:
    """q(z1|x) q(z2|z1, x): two groups, L = 2."""

    gaussian, share = None, 1.0

    def __init__(self, top, net, features):
        self.top, self.net, self.features = top, net, features

    def below(self, top):
        """q(z2|z1, x) of given z1 [K, B, Z]."""
        features = self.features.expand(top.shape[0], *self.features.shape)
        mean, log_std = self.net(torch.cat([features, top], -1)).chunk(2, -1)
        return vaezoo.DiagonalGaussian(mean, log_std)

    def rsample_and_log_prob(self, samples):
        """z and log q of both."""
        (top,), first = self.top.rsample_and_log_prob(samples)
        q = self.below(top)
        eps = vaezoo.noise.normal(*q.mean.shape)
        low = q.mean + q.std * eps
        second = -(0.5 * eps**2 + self.share * q.log_std + HALF_LOG_TWO_PI).sum(-1)
        return (top, low), torch.cat([first, second[None]])

    def log_prob(self, z):
        """Of given points."""
        return torch.cat([self.top.log_prob(z[:1]), self.below(z[0]).log_density(z[1])[None]])


@vaezoo.register.posterior("two-groups")
class TwoGroupsHeads(vaezoo.Posterior):
    """A hierarchical posterior."""

    kind = TwoGroups

    def __init__(self, features: tuple[int, ...], latents: tuple[int, ...]):
        super().__init__()
        size, (top, low) = math.prod(features), two(latents)
        self.heads, self.below = nn.Linear(size, 2 * top), nn.Linear(size + top, 2 * low)

    def forward(self, features):
        flat = features.flatten(1)
        return self.kind(vaezoo.DiagonalGaussian(*self.heads(flat).chunk(2, -1)), self.below, flat)


@vaezoo.register.posterior("two-groups-wrong")
class TwoGroupsWrong(TwoGroupsHeads):
    """The lower group's log std is dropped."""

    class kind(TwoGroups):
        share = 0.0


@vaezoo.register.posterior("two-groups-order-wrong")
class TwoGroupsOrder(TwoGroupsHeads):
    """The scores of its groups are lowest first."""

    class kind(TwoGroups):
        def rsample_and_log_prob(self, samples):
            z, log_q = super().rsample_and_log_prob(samples)
            return z, log_q.flip(0)

        def log_prob(self, z):
            return super().log_prob(z).flip(0)


@vaezoo.register.prior("two-groups")
class TwoGroupsPrior(vaezoo.Prior):
    """p(z1) p(z2|z1), with z2 about the first dimension of z1."""

    share = 1.0

    def __init__(self, latents: tuple[int, ...]):
        super().__init__()
        self.top, low = two(latents)
        self.log_std = nn.Parameter(torch.zeros(low))

    def log_prob(self, z):
        top = vaezoo.DiagonalGaussian(torch.zeros_like(z[0]), torch.zeros_like(z[0])).log_density(z[0])
        low = vaezoo.DiagonalGaussian(self.share * z[0][..., :1], self.log_std).log_density(z[1])
        return torch.stack([top, low])

    def sample(self, n):
        top = vaezoo.noise.normal(n, self.top)
        return top, vaezoo.DiagonalGaussian(top[:, :1].expand(n, len(self.log_std)), self.log_std).draw()


@vaezoo.register.prior("two-groups-wrong")
class TwoGroupsPriorWrong(TwoGroupsPrior):
    """Its groups are dependent in the samples and independent in the density."""

    share = 0.0


@vaezoo.register.prior("two-groups-order-wrong")
class TwoGroupsPriorOrder(TwoGroupsPrior):
    """The scores of its groups are lowest first."""

    def log_prob(self, z):
        return super().log_prob(z).flip(0)


for name in ("two-groups", "two-groups-wrong", "two-groups-order-wrong"):
    vaezoo.register.variant(vaezoo.Variant(f"{name}-posterior", posterior=name, prior="two-groups"))
vaezoo.register.variant(vaezoo.Variant("two-groups-order", posterior="two-groups", prior="two-groups-order-wrong"))
vaezoo.register.variant(vaezoo.Variant("two-groups-prior", posterior="two-groups", prior="two-groups-wrong"))


@vaezoo.register.prior("chain")
class Chain(vaezoo.TopDownPrior):
    """N(0, I) for the top group, N(W z_above, std^2) below."""

    def __init__(self, latents: tuple[int, ...]):
        super().__init__(latents)
        self.maps = nn.ModuleList(map(nn.Linear, latents, latents[1:]))
        self.log_stds = nn.ParameterList(torch.zeros(size) for size in latents[1:])

    def conditional(self, above):
        if not above:
            return self.standard_normal()
        n = len(above) - 1
        return vaezoo.DiagonalGaussian(self.maps[n](above[n]), self.log_stds[n])


@vaezoo.register.prior("chain-kl-wrong")
class ChainKLWrong(Chain):
    """Of a bottom-up q it gives the divergences of Gaussians that have different parents."""

    def kl(self, q, z):
        below = [z[:n:-1] for n in range(len(z))] if q.bottom_up else [z[:n] for n in range(len(z))]
        each = [q.conditional(parents).kl(self.conditional(z[:n])) for n, parents in enumerate(below)]
        return tuple(kl.mean(0) if kl.ndim == 3 else kl for kl in each)


@vaezoo.register.prior("chain-sum-wrong")
class ChainSumWrong(Chain):
    """The divergence below the top is summed over the samples."""

    def kl(self, q, z):
        found = super().kl(q, z)
        return found and tuple(kl * (1 if n == 0 else len(z[n])) for n, kl in enumerate(found))


vaezoo.register.variant(vaezoo.Variant("ladder-chain", posterior="ladder", prior="chain"))
vaezoo.register.variant(vaezoo.Variant("ladder-sum", posterior="ladder", prior="chain-sum-wrong"))
