"""The diagonal Gaussian: the only place where mean + std * eps is written, its density and its divergence.

`vaezoo.core.passes` computes some of its formulas in compiled passes, float32 on a CPU.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise, passes
from vaezoo.core.passes import LOG_STD_AS_GIVEN

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def bounded_log_std(log_std: Tensor) -> Tensor:
    """log_std within (-8, 8), so that std, 1 / std and their squares overflow for no finite input. [...] -> [...]

    The identity, bit for bit, up to a size of 7; beyond it 7 + t / (1 + t) with t = |log_std| - 7, whose slope
    1 / (1 + t)^2 is continuous and falls slowly, so that training can return from far outside.
    """
    middle = log_std.detach().clamp(-LOG_STD_AS_GIVEN, LOG_STD_AS_GIVEN)  # softsign's slope is all of the slope
    return middle + F.softsign(log_std - middle)


class DiagonalGaussian:
    """N(mean, diag(std^2)) over the last axis, and the flat Gaussian posterior q(z|x) (one latent group, L = 1).

    Samples are reparameterised, z = mean + std * eps with eps ~ N(0, I), so that gradients flow to mean and log_std
    (Kingma and Welling 2014, arXiv:1312.6114; Rezende et al. 2014, arXiv:1401.4082).

    mean, log_std: [..., Z]; log_std may broadcast. Of a posterior they are [B, Z].
    """

    def __init__(self, mean: Tensor, log_std: Tensor):
        self.mean, self.log_std = mean, log_std

    @classmethod
    def from_heads(cls, params: Tensor) -> "DiagonalGaussian":
        """The Gaussian of a network's output: the first half is the mean, the second log_std, bounded. [..., 2 Z]"""
        if passes.takes(params):
            return cls(*passes.Bounded.apply(params))
        half = params.shape[-1] // 2
        mean, log_std = torch.split_with_sizes(params, (half, half), -1)
        return cls(mean, bounded_log_std(log_std))

    @property
    def std(self) -> Tensor:
        """exp(log_std). [..., Z]"""
        return self.log_std.exp()

    @property
    def gaussian(self) -> "DiagonalGaussian":
        """Itself. (A posterior that is not Gaussian has None here.)"""
        return self

    def rsample(self, samples: int) -> Tensor:
        """z = mean + std * eps. [K, ..., Z]"""
        return self._place(noise.normal(samples, *self.mean.shape))

    def rsample_and_log_prob(self, samples: int) -> tuple[tuple[Tensor], Tensor]:
        """K samples ([K, B, Z],) and their log q(z|x) [L=1, K, B] in nats, from the same eps."""
        z, log_q = self._place_and_score(noise.normal(samples, *self.mean.shape))
        return (z,), log_q[None]

    def draw(self) -> Tensor:
        """One sample for each element of the mean, z = mean + std * eps: for a mean that is [K, B, Z] already, as that
        of p(z_l | z_above), eps is keyed by sample and image. [..., Z]
        """
        return self._place(noise.normal(*self.mean.shape))

    def draw_and_log_prob(self) -> tuple[Tensor, Tensor]:
        """`draw`, and the log density of the sample in nats, from the same eps. [..., Z], [...]"""
        return self._place_and_score(noise.normal(*self.mean.shape))

    def log_density(self, value: Tensor) -> Tensor:
        """log N(value; mean, std) summed over the last axis, in nats. [..., Z] -> [...]

        Integrates to 1 over value.
        """
        eps = (value - self.mean) * (-self.log_std).exp()
        return -(0.5 * eps.square() + self.log_std + HALF_LOG_TWO_PI).sum(-1)

    def log_prob(self, z: tuple[Tensor, ...]) -> Tensor:
        """log q(z|x) of given points, in the form of the posterior contract. ([K, B, Z],) -> [L=1, K, B]"""
        return self.log_density(z[0])[None]

    def kl_standard_normal(self) -> Tensor:
        """KL(q || N(0, I)) of each dimension in closed form, in nats. [..., Z]

        0.5 (mean^2 + std^2 - 1) - log_std; 0 exactly where mean = log_std = 0.
        """
        if passes.takes(self.mean, self.log_std):
            kl: Tensor = passes.StandardKL.apply(self.mean, self.log_std)
            return kl
        return 0.5 * (self.mean * self.mean + (2 * self.log_std).exp() - 1) - self.log_std

    def kl(self, p: "DiagonalGaussian") -> Tensor:
        """KL(q || p) of each dimension in closed form, in nats. [..., Z]

        With r = log_std - p.log_std it is 0.5 ((mean - p.mean)^2 / p.std^2 + e^2r - 1) - r: 0 where the two are equal,
        and `kl_standard_normal` for p = N(0, I).
        """
        distance = (self.mean - p.mean) * (-p.log_std).exp()
        ratio = self.log_std - p.log_std
        return 0.5 * (distance.square() + (2 * ratio).exp() - 1) - ratio

    def product(self, other: "DiagonalGaussian") -> "DiagonalGaussian":
        """The Gaussian whose density is proportional to the product of the two densities. [..., Z]

        Its precision 1 / std^2 is the sum of the two precisions, its mean their means weighted by precision. Two
        estimates of one quantity are merged so: Sønderby et al. (2016), arXiv:1602.02282.
        """
        share = (2 * (other.log_std - self.log_std)).sigmoid()  # of this precision in the sum
        log_std = -0.5 * torch.logaddexp(-2 * self.log_std, -2 * other.log_std)
        return DiagonalGaussian(other.mean + share * (self.mean - other.mean), log_std)

    def _place(self, eps: Tensor) -> Tensor:
        eps = eps.to(self.mean)
        if passes.takes(self.mean, self.log_std, eps) and not eps.requires_grad:
            z: Tensor = passes.Placed.apply(self.mean, self.log_std, eps, 1)
            return z
        return self.mean + self.std * eps

    def _place_and_score(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        eps = eps.to(self.mean)
        size = self.mean.shape[-1]
        log_std = self.log_std.expand(*self.log_std.shape[:-1], size).sum(-1)  # of all samples at once
        log_q = -0.5 * eps.square().sum(-1) - (log_std + size * HALF_LOG_TWO_PI)
        return self._place(eps), log_q


def mixture_log_density(z: Tensor, mean: Tensor, log_std: Tensor, log_weight: Tensor) -> Tensor:
    """log sum_c w_c N(z; mean_c, std_c) in nats, for C diagonal components. [..., Z], [C, Z], [C, Z], [C] -> [...]

    log_weight: [C], or one row for each row of z, which broadcasts against [..., C]; -infinity leaves a component out.

    The squares are expanded, so that C components cost one matrix product with [z^2, z] and no [..., C, Z] tensor. They
    are taken about the components' common mean. The cancellation error in float32 grows with Z (mean / std)^2, so
    components that are far narrower than their distances need float64.
    """
    shared = log_weight if log_weight.ndim == 1 else 0.0
    centre = mean.mean(0)
    z, mean = z - centre, mean - centre
    precision = (-2 * log_std).exp()
    constant = shared - (0.5 * mean.square() * precision + log_std).sum(-1) - mean.shape[-1] * HALF_LOG_TWO_PI
    terms = torch.cat([-0.5 * precision, mean * precision], -1)  # [C, 2 Z]
    flat = torch.cat([z.square(), z], -1).view(-1, terms.shape[1])
    value = torch.addmm(constant, flat, terms.T).view(*z.shape[:-1], len(mean))
    return (value if log_weight.ndim == 1 else value + log_weight).logsumexp(-1)
