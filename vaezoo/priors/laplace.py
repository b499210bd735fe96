"""The Laplace prior."""

import math

from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import PosteriorDistribution, Prior
from vaezoo.core.errors import VaezooError
from vaezoo.core.gaussian import HALF_LOG_TWO_PI
from vaezoo.registry import register


@register.prior("laplace", paper="Geadah et al. (2024), Neural Computation 36(12)")
class Laplace(Prior):
    """p(z) = prod_j exp(-|z_j| / s) / (2 s), with the scale s: it prefers codes with many dimensions near 0.

    Its variance is 2 s^2. Its KL divergence from a Gaussian posterior N(mean, std^2) is in closed form, in nats

        KL = E|z| / s + log(2 s) - log_std - 0.5 (1 + log 2 pi)
        E|z| = std sqrt(2 / pi) exp(-mean^2 / (2 std^2)) + mean erf(mean / (std sqrt 2))

    with the mean of the folded normal distribution.

    scale: s, fixed. Raises VaezooError where it is not above 0.
    """

    def __init__(self, latent: int, *, scale: float = 1.0):
        super().__init__()
        if not scale > 0:
            raise VaezooError(f"scale must be above 0, got {scale:g}")
        self.latent, self.scale = latent, scale

    def log_density(self, z: Tensor) -> Tensor:
        return -z.abs().sum(-1) / self.scale - z.shape[-1] * math.log(2 * self.scale)

    def sample(self, n: int) -> Tensor:
        """A normal number times the square root of twice an exponential one, which is a sum of two squares. [n, Z]"""
        normal, first, second = noise.normal(3, n, self.latent).unbind(0)
        return self.scale * normal * (first.square() + second.square()).sqrt()

    def kl(self, q: PosteriorDistribution) -> tuple[Tensor] | None:
        """KL(q || p) of each dimension in nats, ([B, Z],); None where q is no diagonal Gaussian."""
        if q.gaussian is None:
            return None
        mean, log_std = q.gaussian.mean, q.gaussian.log_std
        ratio = mean * (-log_std).exp()
        folded = log_std.exp() * math.sqrt(2 / math.pi) * (-0.5 * ratio.square()).exp()
        folded = folded + mean * (ratio * math.sqrt(0.5)).erf()
        return (folded / self.scale + math.log(2 * self.scale) - log_std - 0.5 - HALF_LOG_TWO_PI,)
