"""Wrong standard normal priors and their divergences, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
prior = vaezoo.register.prior


@prior("constant")
class Constant(vaezoo.Prior):
    """N(0, I)."""

    constant = HALF_LOG_TWO_PI

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        return -(0.5 * z**2 + self.constant).sum(-1)

    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent)


@prior("constant-wrong")
class ConstantWrong(Constant):
    """Without -D/2 log 2 pi."""

    constant = 0.0


@prior("sharing")
class Sharing(Constant):
    """Each dimension has a number of its own."""

    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent)


@prior("sharing-wrong")
class SharingWrong(Sharing):
    """All dimensions share one number: every axis alone looks right."""

    def sample(self, n):
        return vaezoo.noise.normal(n, 1).expand(n, self.latent)


@prior("kl")
class KL(Constant):
    """The divergence in closed form."""

    def kl(self, q):
        return (self.divergence(q.gaussian.mean, q.gaussian.log_std),) if q.gaussian else None

    def divergence(self, mean, log_std):
        """KL(N(mean, std^2) || N(0, 1))."""
        return 0.5 * (mean**2 + (2 * log_std).exp() - 1) - log_std


@prior("kl-half-wrong")
class HalfWrong(KL):
    """Lacks the 1/2."""

    def divergence(self, mean, log_std):
        return mean**2 + (2 * log_std).exp() - 1 - log_std


@prior("kl-mean-wrong")
class MeanWrong(KL):
    """Lacks mean^2."""

    def divergence(self, mean, log_std):
        return 0.5 * ((2 * log_std).exp() - 1) - log_std


@prior("kl-swapped-wrong")
class SwappedWrong(KL):
    """KL(p || q): prior and posterior swapped."""

    def divergence(self, mean, log_std):
        return log_std + 0.5 * (1 + mean**2) * (-2 * log_std).exp() - 0.5


vaezoo.register.variant(vaezoo.Variant("whole", prior="kl", about="a whole variant"))
vaezoo.register.variant(vaezoo.Variant("whole-wrong", prior="kl-swapped-wrong", about="a whole variant"))


@prior("kl-shape-wrong")
class ShapeOfKLWrong(KL):
    """Summed over the dimensions before its time."""

    def kl(self, q):
        return tuple(group.sum(-1, keepdim=True) for group in super().kl(q))


@prior("shape-wrong")
class ShapeWrong(Constant):
    """[L, B, K] where [L, K, B] is wanted."""

    def log_density(self, z):
        return super().log_density(z).transpose(0, 1)


@prior("precision")
class Precision(Constant):
    """Computed in the precision it is given."""


@prior("precision-wrong")
class PrecisionWrong(Constant):
    """Cast to float32 and back."""

    def log_density(self, z):
        return super().log_density(z.float()).to(z.dtype)


@prior("precision-kept-wrong")
class PrecisionKeptWrong(Constant):
    """Cast to float32 and left there."""

    def log_density(self, z):
        return super().log_density(z.float())


@prior("generator-wrong")
class GeneratorWrong(Constant):
    """torch.randn instead of vaezoo.noise."""

    def sample(self, n):
        return torch.randn(n, self.latent)


@prior("running")
class Running(Constant):
    """A pass leaves nothing behind."""


@prior("running-wrong")
class RunningWrong(Constant):
    """A running statistic in a plain attribute."""

    def __init__(self, latent: int):
        super().__init__(latent)
        self.seen = 0

    def log_density(self, z):
        self.seen += 1
        return super().log_density(z) + 1e-3 * self.seen
