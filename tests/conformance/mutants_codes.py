"""Discrete latents, binary and one-hot: NAME is right, NAME-wrong is not."""

import math

import torch
from scored_heads import Heads, Scored
from torch import nn
from torch.nn import functional as F

import vaezoo


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
