"""The InfoVAE objective with the maximum mean discrepancy."""

import torch
from torch import Tensor

from vaezoo.core import bounds
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError
from vaezoo.registry import register


@register.objective("info", paper="Zhao et al. (2019), arXiv:1706.02262")
class Info(Objective):
    """E_q[log p(x|z)] - w ((1 - alpha) KL(q(z|x) || p(z)) + (alpha + lambda - 1) MMD(q(z), p(z))). [B]

    MMD is the squared maximum mean discrepancy of the kernel exp(-|z - z'|^2 / (2 Z bandwidth^2)), between the K B
    samples of the batch, whose images it couples, and as many samples of the prior. These are fixed: MMD moves q, not
    p(z). All latent groups together are z, and Z is its size. w is the weight of the KL warm-up, 1 after it. Equals the
    objective `elbo` at alpha = 0 and mmd_weight = 1. At alpha = 1 the KL goes and MMD stays: MMD-VAE.

    alpha: at most 1. mmd_weight: lambda, at least 1 - alpha. bandwidth: the kernel's, in units of the prior N(0, I).
    """

    batch_coupled = True

    def __init__(self, *, alpha: float = 0.0, mmd_weight: float = 1000.0, bandwidth: float = 1.0):
        super().__init__()
        if alpha > 1 or alpha + mmd_weight < 1:
            raise VaezooError(
                f"alpha must be at most 1 and mmd_weight at least 1 - alpha, got {alpha:g} and {mmd_weight:g}"
            )
        if bandwidth <= 0:
            raise VaezooError(f"bandwidth must be above 0, got {bandwidth:g}")
        self.alpha, self.mmd_weight, self.bandwidth = alpha, mmd_weight, bandwidth
        self.lower_bound = alpha <= 0

    def estimates(self, draws: Draws) -> Tensor:
        """(1 - alpha) ELBO + alpha E_q[log p(x|z)] - (alpha + lambda - 1) MMD. [B]"""
        likelihood = draws.log_likelihood.mean(0)
        return (1 - self.alpha) * bounds.elbo(draws) + self.alpha * likelihood - self.penalty(draws)

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        penalty = (1 - self.alpha) * draws.kl_estimate + self.penalty(draws)
        return draws.log_likelihood.mean(0) - draws.kl_weight * penalty

    def penalty(self, draws: Draws) -> Tensor:
        """(alpha + lambda - 1) MMD of the batch. A scalar."""
        z = torch.cat(draws.z, -1)  # [K, B, Z]
        context = None if draws.batch.context is None else draws.batch.context.repeat(len(z), 1)
        prior = torch.cat(draws.model.prior_sample(z.shape[0] * z.shape[1], context), -1)
        width = 2 * z.shape[-1] * self.bandwidth**2
        return (self.alpha + self.mmd_weight - 1) * discrepancy(z.flatten(0, 1), prior, width)


def discrepancy(a: Tensor, b: Tensor, width: float) -> Tensor:
    """The squared maximum mean discrepancy of two sets of points, with the kernel exp(-|a - b|^2 / width). [N, Z],
    [M, Z] -> a scalar, 0 or more

    The mean of k(a, a') + k(b, b') - 2 k(a, b) over all pairs, each point with itself included. Gretton et al. (2012),
    JMLR 13.
    """

    def kernel(u: Tensor, v: Tensor) -> Tensor:
        """The mean of k over all pairs."""
        squares = u.square().sum(-1)[:, None] + v.square().sum(-1) - 2 * u @ v.T
        return torch.exp(-squares / width).mean()

    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)
