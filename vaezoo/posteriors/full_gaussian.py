"""The Gaussian posterior whose dimensions are correlated."""

import math

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Latents, Posterior
from vaezoo.core.errors import NoClosedForm
from vaezoo.core.gaussian import HALF_LOG_TWO_PI, DiagonalGaussian
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


class FullGaussianDistribution:
    """N(mean, L L^T), a q(z|x) of one latent group; see `FullGaussian`.

    base: mean and log_std, the logarithm of L's diagonal, over [B, Z]. below: L without its diagonal, [B, Z, Z].
    """

    def __init__(self, base: DiagonalGaussian, below: Tensor):
        self.base, self.below = base, below

    @property
    def gaussian(self) -> None:
        """None: it is no diagonal Gaussian."""
        return None

    @property
    def for_kl(self) -> DiagonalGaussian:
        """Its KL from diagonal Gaussians."""
        return KLOfFullGaussian(self)

    @property
    def factor(self) -> Tensor:
        """L, lower triangular. [B, Z, Z]"""
        return self.below + self.base.std.diag_embed()

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension, the diagonal of L L^T. [B, Z]"""
        return self.below.square().sum(-1) + (2 * self.base.log_std).exp()

    def rsample_and_log_prob(self, samples: int) -> tuple[tuple[Tensor], Tensor]:
        """K samples ([K, B, Z],), z = mean + L eps, and their log q(z|x) [L=1, K, B] in nats, from the same eps."""
        eps = noise.normal(samples, *self.base.mean.shape).to(self.base.mean)
        z = self.base.mean + (self.factor @ eps.movedim(0, -1)).movedim(-1, 0)
        return (z,), self._log_density(eps)[None]

    def log_prob(self, z: Latents) -> Tensor:
        """log q(z|x) of given points in nats, by the triangular system L eps = z - mean. ([K, B, Z],) -> [L=1, K, B]"""
        centred = (z[0] - self.base.mean).movedim(0, -1)
        return self._log_density(torch.linalg.solve_triangular(self.factor, centred, upper=False).movedim(-1, 0))[None]

    def _log_density(self, eps: Tensor) -> Tensor:
        """log N(eps; 0, I) - log |det L|. [K, B, Z] -> [K, B]"""
        return -(0.5 * eps.square() + self.base.log_std + HALF_LOG_TWO_PI).sum(-1)


class KLOfFullGaussian(DiagonalGaussian):
    """The KL of a full Gaussian q from a diagonal one p, in the place of a DiagonalGaussian.

    A prior's `kl` that needs more than these two methods finds no closed form: NoClosedForm.
    """

    def __init__(self, q: FullGaussianDistribution):
        self.q = q

    def __getattr__(self, name: str) -> Tensor:
        if name in ("mean", "log_std"):
            raise NoClosedForm(f"a full Gaussian has no {name} of independent dimensions")
        raise AttributeError(name)

    def kl_standard_normal(self) -> Tensor:
        """KL(q || N(0, I)) of each dimension, given those before it, in nats: 0.5 (mean^2 + variance - 1) - log_std,
        where log_std is of L's diagonal. [B, Z]
        """
        return 0.5 * (self.q.base.mean.square() + self.q.variance - 1) - self.q.base.log_std

    def kl(self, p: DiagonalGaussian) -> Tensor:
        """KL(q || p) of each dimension, given those before it, in nats. p: over [Z] or [B, Z]. [B, Z]"""
        precision = (-2 * p.log_std).exp()
        spread = (self.q.base.mean - p.mean).square() + self.q.variance
        return 0.5 * (spread * precision - 1) - (self.q.base.log_std - p.log_std)


@register.posterior("full-gaussian", paper="Kingma and Welling (2019), arXiv:1906.02691, section 2.5.1")
class FullGaussian(Posterior):
    """q(z|x) = N(mean(x), L(x) L(x)^T) with the Cholesky factor L, lower triangular: z = mean + L eps, eps ~ N(0, I).

    Linear heads map the features to mean and to log_std, the logarithm of L's diagonal, which is bounded; another maps
    them to Z times the Z (Z - 1) / 2 numbers below the diagonal, which start at 0. The factor Z keeps the updates of a
    row together as small as those of one number: Adam moves every weight by the same amount. In nats

        log q(z|x) = sum_j log N(eps_j; 0, 1) - sum_j log_std_j,   eps = L^-1 (z - mean)

    and KL(q || N(0, I)) = sum_j [0.5 (mean_j^2 + sum_{k <= j} L_jk^2 - 1) - log_std_j] is in closed form, as from every
    diagonal Gaussian. Its term j is the mean of KL(q(z_j|z_<j, x) || N(0, 1)), by the chain rule. Equals the posterior
    `gaussian`, in values and in KL, where all numbers below the diagonal are 0, as at the start of training.

    [B, *features] -> a FullGaussianDistribution over [B, Z]
    """

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        width = math.prod(features)
        self.heads = nn.Sequential(nn.Flatten(1), Linear(width, 2 * latent))
        self.below = Linear(width, latent * (latent - 1) // 2) if latent > 1 else None
        if self.below is not None:
            nn.init.zeros_(self.below.weight)
            nn.init.zeros_(self.below.bias)
        rows, columns = torch.tril_indices(latent, latent, -1)
        place = torch.zeros(latent, latent, dtype=torch.int64)
        place[rows, columns] = torch.arange(1, len(rows) + 1)
        self.place: Tensor
        self.register_buffer("place", place, persistent=False)

    def forward(self, features: Tensor) -> FullGaussianDistribution:
        """q(z|x) of each image. [B, *features] -> samples [K, B, Z]"""
        base = DiagonalGaussian.from_heads(self.heads(features))
        zero = base.mean.new_zeros(len(base.mean), 1)
        found = [] if self.below is None else [self.below(features.flatten(1)) / base.mean.shape[-1]]
        entries = torch.cat([zero, *found], -1)
        return FullGaussianDistribution(base, entries[:, self.place])
