"""The von Mises-Fisher distribution on the unit sphere, its sampler and its implicit gradient."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.flows.bessel import log_normaliser, mean_cosine

ROUNDS = 24
"""Proposals for each sample. One is accepted with probability 0.65 or more in any dimension and at any concentration;
all are rejected with 1e-11 or less, and the sample is then the proposals' centre.
"""
NODES = 60
"""Nodes of the quadrature of the implicit gradient."""


def log_sphere_area(size: int) -> float:
    """The logarithm of the area of the unit sphere in R^size: 2 pi^(size/2) / Gamma(size/2)."""
    return math.log(2) + 0.5 * size * math.log(math.pi) - math.lgamma(0.5 * size)


def distances(k: Tensor, size: int, uniform: Tensor) -> Tensor:
    """d = 1 - mu.z of von Mises-Fisher points z, by rejection in a fixed number of rounds. All float64.

    Wood (1994) with the symmetric beta numbers of Ulrich (1984): with b = (Z - 1) / (2 k + sqrt(4 k^2 + (Z - 1)^2)) and
    e ~ Beta((Z - 1)/2, (Z - 1)/2), a proposal is d = 2 b e / (1 - (1 - b) e). Computed from d, not from mu.z, so that
    nothing cancels where d is small.

    k: [...]. uniform: [..., ROUNDS, 3]. -> [...]
    """
    first, second, third = uniform.unbind(-1)
    k = k.unsqueeze(-1)
    b = (size - 1) / (2 * k + (4 * k.square() + (size - 1) ** 2).sqrt())
    radius = (-torch.expm1(2 / (size - 2) * first.log())).sqrt() if size > 2 else torch.ones_like(first)
    beta = 0.5 * (1 + radius * (2 * math.pi * second).cos())
    d = 2 * b * beta / (1 - (1 - b) * beta)
    centre = 2 * b / (1 + b)
    log_ratio = k * (centre - d) + (size - 1) * ((centre + (1 - centre) * d) / (centre * (2 - centre))).log()
    accepted = third.log() < log_ratio
    found = centre.squeeze(-1).expand(d.shape[:-1])
    for proposal, takes in zip(reversed(d.unbind(-1)), reversed(accepted.unbind(-1)), strict=True):
        found = torch.where(takes, proposal, found)
    return found.clamp(1e-300, 2 - 1e-15)


def distance_slope(k: Tensor, d: Tensor, size: int) -> Tensor:
    """The derivative of d by k where the quantile of d is held fixed: -(dF/dk) / f, F and f of the law of d. float64

    With A = E[w] of w = 1 - d it is the integral of (A - w) f(w) / f(w_0) over the w above w_0 where w_0 > A, and of
    its negative over those below else, so that nothing cancels. In y = logit(d / 2) the law is log-concave with
    exponential tails, f(y) = exp(-k d) (d/2)^a (1 - d/2)^a with a = (Z - 1)/2, and the substitution y = y_0 +- s
    exp(t - exp(-t)) makes the trapezoidal rule converge exponentially (Takahasi and Mori 1974).

    Figurnov et al. (2018), arXiv:1805.08498. [...], [...] -> [...]
    """
    half = (size - 1) / 2
    mean = mean_cosine(k, size).unsqueeze(-1)
    k, start = k.unsqueeze(-1), 0.5 * d.unsqueeze(-1)
    left = 2 * start < 1 - mean
    spread = start * (1 - start)
    slope = half * (1 - 2 * start) - 2 * k * spread
    bend = 2 * spread * (half + k * (1 - 2 * start).clamp(min=0))
    scale = 1 / (slope.abs() + bend.sqrt())
    t = torch.linspace(-3.6, 4.6, NODES, dtype=k.dtype, device=k.device)
    reach = (t - (-t).exp()).exp()
    weight = reach * (1 + (-t).exp()) * (t[1] - t[0])
    way = torch.where(left, -scale, scale) * reach
    other = torch.sigmoid(torch.logit(start) + way)
    rest = torch.sigmoid(-torch.logit(start) - way)
    tiny = torch.finfo(k.dtype).tiny
    ratios = (other.clamp(min=tiny) / start).log() + (rest.clamp(min=tiny) / (1 - start)).log()
    value = (1 - mean - 2 * other).abs() * (half * ratios - 2 * k * (other - start)).exp()
    return -2 * spread.squeeze(-1) * scale.squeeze(-1) * (value * weight).sum(-1)


class Distances(torch.autograd.Function):
    """d = 1 - mu.z that a sampler found, with its implicit gradient by k, `distance_slope`. k [...], d [...] -> d

    It has no second derivative, so torch refuses that instead of giving wrong numbers. float64
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(k: Tensor, d: Tensor, size: int) -> Tensor:
        """The same numbers."""
        return d.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        """Saves both for the gradient."""
        ctx.save_for_backward(*inputs[:2])
        ctx.size = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """By k; the noise is held fixed."""
        k, d = ctx.saved_tensors
        return grad * distance_slope(k, d, ctx.size), None, None


class VonMisesFisher:
    """q(z) proportional to exp(k mu.z) on the unit sphere in R^Z, with respect to its surface; one latent group.

        log q(z) = -k |z - mu|^2 / 2 - log E_uniform[exp(k (w - 1))] - log area

    in nats, where w is a coordinate of a uniform point. At k = 0 it is uniform. A sample is z = (1 - d) mu +
    sqrt(d (2 - d)) v with d = 1 - mu.z from `distances`, and v a uniform direction at right angles to mu: a Householder
    reflection that maps the first axis to +-mu, of a direction that has no first coordinate. The gradient is implicit
    for d, and that of the reflection for mu, so that E f(z) has exact gradients.

    mean: mu, of length 1, [B, Z]. concentration: k >= 0, [B].

    Davidson et al. (2018), arXiv:1804.00891.
    """

    def __init__(self, mean: Tensor, concentration: Tensor):
        self.mean, self.concentration = mean, concentration.double()
        self.size = mean.shape[-1]

    @property
    def gaussian(self) -> None:
        """None: it is not Gaussian."""
        return None

    def rsample_and_log_prob(self, samples: int) -> tuple[tuple[Tensor], Tensor]:
        """K samples ([K, B, Z],) and their log q(z|x) [L=1, K, B] in nats, from the same d."""
        shape = (samples, *self.concentration.shape)
        k = self.concentration.expand(shape)
        with torch.no_grad():
            found = distances(k, self.size, noise.uniform(*shape, ROUNDS, 3).to(k))
        d: Tensor = Distances.apply(k, found, self.size)
        across = F.normalize(noise.normal(*shape, self.size - 1).to(self.mean), dim=-1)
        along, aside = ((1 - d), (d * (2 - d)).sqrt())
        z = along.to(across).unsqueeze(-1) * self.mean + aside.to(across).unsqueeze(-1) * self._at_right_angles(across)
        return (z,), self._log_density(d)[None]

    def log_prob(self, z: tuple[Tensor, ...]) -> Tensor:
        """log q(z|x) of given points in nats. ([K, B, Z],) -> [L=1, K, B]"""
        return self._log_density(0.5 * (z[0].double() - self.mean).square().sum(-1))[None]

    def kl_uniform(self) -> Tensor:
        """KL(q || uniform on the sphere) in closed form, in nats: k A(k) - log E_uniform[exp(k w)]. [B]

        0 at k = 0. A is the mean of mu.z.
        """
        k = self.concentration
        return (k * (mean_cosine(k, self.size) - 1) - log_normaliser(k, self.size)).to(self.mean.dtype)

    def _log_density(self, d: Tensor) -> Tensor:
        """log q of points at these d = 1 - mu.z. [K, B] -> [K, B]"""
        k = self.concentration
        return (-k * d - log_normaliser(k, self.size) - log_sphere_area(self.size)).to(self.mean.dtype)

    def _at_right_angles(self, across: Tensor) -> Tensor:
        """(0, across) reflected so that the first axis becomes +-mu. [..., Z - 1] -> [..., Z]

        The sign is the one for which the normal of the mirror, mu +- the first axis, is 1.4 long or more.
        """
        first, others = self.mean[..., :1], self.mean[..., 1:]
        normal = torch.cat([first + torch.where(first >= 0, 1.0, -1.0).to(first), others], -1)
        share = 2 * (across * others).sum(-1, keepdim=True) / normal.square().sum(-1, keepdim=True)
        return F.pad(across, (1, 0)) - share * normal
