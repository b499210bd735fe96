"""The Hamiltonian posterior."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Latents, Posterior, flat_parameters
from vaezoo.core.errors import VaezooError
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.nets.linear import Linear
from vaezoo.registry import register

LogJoint = Callable[[Latents], Tensor]
"""A tuple of [K, B, Z_l] -> log p(x, z) in nats [K, B]."""


class HamiltonianDistribution:
    """q(z|x) by deterministic, tempered Hamiltonian dynamics of (z, rho); see `Hamiltonian`.

    start: q0, the Gaussian of z_0, over [B, Z]. log_joint: of the images. step: eps, [Z]. roots: 1 / sqrt(beta_k), one
    number for each of k = 0 .. N, the last of which is 1.
    """

    def __init__(self, start: DiagonalGaussian, log_joint: LogJoint, step: Tensor, roots: list[Tensor]):
        self.start, self.log_joint, self.step, self.roots = start, log_joint, step, roots

    @property
    def gaussian(self) -> None:
        """None: it is not Gaussian."""
        return None

    def rsample_and_log_prob(self, samples: int) -> tuple[tuple[Tensor], Tensor]:
        """K samples ([K, B, Z],) of the last z, and log q of the extended space [L=1, K, B] in nats.

        log q = log q0(z_0) + log N(gamma; 0, I) - log N(rho_N; 0, I), where gamma = sqrt(beta_0) rho_0 is standard
        normal.
        """
        (z,), log_q = self.start.rsample_and_log_prob(samples)
        gamma = noise.normal(*z.shape).to(z)
        z, momentum = self.move(z, self.roots[0] * gamma)
        return (z,), log_q + 0.5 * (momentum.square() - gamma.square()).sum(-1)

    def log_prob(self, z: Latents) -> None:
        """None: only its own samples can be scored, whose start and momentum are known."""
        return None

    def move(self, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """(z_N, rho_N) from (z_0, rho_0), [K, B, Z] each: N leapfrog steps, after each of which the momentum is cooled.

        log |det| of the map is (Z / 2) log beta_0 for each sample and image. It evaluates N + 1 gradients.
        """
        slope = self._slope(z) if len(self.roots) > 1 else z
        for root, cooler in zip(self.roots[:-1], self.roots[1:], strict=True):
            momentum = momentum + 0.5 * self.step * slope
            z = z + self.step * momentum
            slope = self._slope(z)
            momentum = (momentum + 0.5 * self.step * slope) * (cooler / root)
        return z, momentum

    def _slope(self, z: Tensor) -> Tensor:
        """d log p(x, z) / dz of each sample and image, also under no_grad. [K, B, Z] -> [K, B, Z]"""
        slope: Tensor = torch.func.grad(lambda point: self.log_joint((point,)).sum())(z)
        return slope


@register.posterior("hamiltonian", paper="Caterini et al. (2018), arXiv:1805.11328")
class Hamiltonian(Posterior):
    """q(z|x) by N leapfrog steps along the gradient of log p(x, z) from a Gaussian start, with tempering.

    The start is z_0 ~ q0 = N(mean(x), diag(std(x)^2)) and rho_0 ~ N(0, I / beta_0). Step k = 1 .. N is

        rho'  = rho_{k-1} + eps/2 * dlog p(x, z_{k-1})/dz
        z_k   = z_{k-1} + eps * rho'
        rho_k = sqrt(beta_{k-1} / beta_k) (rho' + eps/2 * dlog p(x, z_k)/dz)

    with 1/sqrt(beta_k) = 1 + (1/sqrt(beta_0) - 1) (1 - k^2/N^2), so that beta_N = 1 (the paper's fixed, quadratic
    tempering). A leapfrog step has the determinant 1, and cooling has prod_k (beta_{k-1} / beta_k)^(Z/2) =
    beta_0^(Z/2). So in nats the law of (z_N, rho_N) is

        log q(z_N, rho_N|x) = log q0(z_0) + log N(rho_0; 0, I / beta_0) - (Z/2) log beta_0
                            = log q0(z_0) + log N(sqrt(beta_0) rho_0; 0, I).

    The bounds are those of the extended model p(x, z) N(rho; 0, I). Its momentum is an auxiliary variable, whose log
    density is subtracted from log q, since an objective adds log p(x, z) alone:

        log q := log q(z_N, rho_N|x) - log N(rho_N; 0, I).

    Hence E[h(z)/q] = 1 for every normalised h, E[w] = p(x), and each bound is a lower bound of log p(x). E[log q -
    log p(z)] is the KL divergence of the extended space, at least that of z alone. Only its own samples are scored.
    Equals the posterior `gaussian` for N = 0, in its samples and in log q. Without cooling, exact dynamics would
    conserve log p(x, z) + log N(rho; 0, I), and log w would be that of the start.

    The gradients depend on the weights of decoder and prior, and training differentiates them again. Needs a
    likelihood, a decoder and a prior that can be differentiated by z.

    leapfrogs: N. step: eps of each dimension at the start of training. largest_step: eps = largest_step * sigmoid(raw)
    is learned below it. inverse_temperature: beta_0 = sigmoid(raw) at the start; it is learned, in (0, 1).
    [B, *features] -> a HamiltonianDistribution over [B, Z]. Raises VaezooError for values outside these ranges.
    """

    def __init__(
        self,
        features: tuple[int, ...],
        latent: int,
        *,
        leapfrogs: int = 3,
        step: float = 0.05,
        largest_step: float = 0.5,
        inverse_temperature: float = 0.5,
    ):
        super().__init__()
        if leapfrogs < 0:
            raise VaezooError(f"leapfrogs must be 0 or more, got {leapfrogs}")
        if not 0 < step < largest_step:
            raise VaezooError(f"step must lie between 0 and largest_step = {largest_step:g}, got {step:g}")
        if not 0 < inverse_temperature < 1:
            raise VaezooError(f"inverse_temperature must lie between 0 and 1, got {inverse_temperature:g}")
        self.leapfrogs, self.largest_step = leapfrogs, largest_step
        self.heads = nn.Sequential(nn.Flatten(1), Linear(flat_parameters(features), 2 * latent))
        self.raw_step = nn.Parameter(torch.full((latent,), _logit(step / largest_step)))
        self.raw_inverse_temperature = nn.Parameter(torch.tensor(_logit(inverse_temperature)))

    def forward(self, features: Tensor, log_joint: LogJoint) -> HamiltonianDistribution:
        """q(z|x) of each image. [B, *features] -> samples [K, B, Z]"""
        start = DiagonalGaussian.from_heads(self.heads(features))
        step = self.largest_step * self.raw_step.sigmoid()
        excess = self.raw_inverse_temperature.sigmoid().rsqrt() - 1
        shares = [1 - (k / self.leapfrogs) ** 2 for k in range(self.leapfrogs)] + [0.0]
        return HamiltonianDistribution(start, log_joint, step, [1 + share * excess for share in shares])


def _logit(p: float) -> float:
    return math.log(p / (1 - p))
