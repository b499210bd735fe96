"""Plain objects that a pass changes: a count of an objective, an attribute of z. NAME is right, NAME-wrong is not."""

import math

from torch import nn

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
prior = vaezoo.register.prior


class Kept:
    """A plain object that counts."""

    def __init__(self):
        self.calls = 0


@vaezoo.register.objective("counting")
class Counting(vaezoo.Objective):
    """The ELBO."""

    lower_bound = True

    def __init__(self):
        super().__init__()
        self.kept = Kept()

    def counted(self):
        """What it counts: nothing."""

    def forward(self, draws):
        self.counted()
        return draws.log_likelihood.mean(0) - draws.kl_estimate


@vaezoo.register.objective("counting-wrong")
class CountingWrong(Counting):
    """Counts its calls in a plain object, and uses that after a million."""

    def counted(self):
        self.kept.calls += 1


@vaezoo.register.posterior("marking")
class Marking(vaezoo.Posterior):
    """A Gaussian."""

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Linear(math.prod(features), 2 * latent)

    def marked(self, z, mean):
        """The samples as they are handed over."""
        return z

    def forward(self, features):
        mean, log_std = self.heads(features.flatten(1)).chunk(2, -1)
        return Marked(self, mean, log_std)


class Marked:
    """A Gaussian whose samples a posterior may mark."""

    gaussian = None

    def __init__(self, posterior, mean, log_std):
        self.posterior, self.q = posterior, vaezoo.DiagonalGaussian(mean, log_std)

    def rsample_and_log_prob(self, samples):
        """z and log q."""
        (z,), log_q = self.q.rsample_and_log_prob(samples)
        return (self.posterior.marked(z, self.q.mean),), log_q

    def log_prob(self, z):
        """log q(z|x)."""
        return self.q.log_prob(z)


@vaezoo.register.posterior("marking-wrong")
class MarkingWrong(Marking):
    """Hangs its mean on z, where the prior finds it."""

    def marked(self, z, mean):
        z.mean_of_q = mean
        return z


@prior("reading-marks")
class ReadingMarks(vaezoo.Prior):
    """N(0, I)."""

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def centre(self, z):
        """The mean of p(z)."""
        return 0.0

    def log_density(self, z):
        return -(0.5 * (z - self.centre(z)) ** 2 + HALF_LOG_TWO_PI).sum(-1)

    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent)


@prior("reading-marks-wrong")
class ReadingMarksWrong(ReadingMarks):
    """A prior that is q's mean where it hangs on z."""

    def centre(self, z):
        return getattr(z, "mean_of_q", 0.0)


vaezoo.register.variant(vaezoo.Variant("marks-wrong", posterior="marking-wrong", prior="reading-marks-wrong"))
