"""The beta-TCVAE objective."""

import math

import torch
from torch import Tensor

from vaezoo.core import bounds
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.objective_terms import gaussian_posterior, weighted_elbo
from vaezoo.registry import register


@register.objective("beta-tc", paper="Chen et al. (2018), arXiv:1802.04942")
class BetaTC(Objective):
    """E_q[log p(x|z)] - w (alpha MI + beta TC + gamma DW): the KL in three terms, each with a weight of its own. [B]

    MI = E[log q(z|x) - log q(z)], the mutual information of x and z; TC = E[log q(z) - sum_j log q(z_j)], the total
    correlation; DW = E[sum_j log q(z_j) - log p(z)], the KL of the dimensions one by one. They add up to log q(z|x) -
    log p(z), so that with all weights 1 it is the ELBO, whatever the estimate of q(z). w is the weight of the KL
    warm-up, 1 after it.

    q(z) is estimated by minibatch-weighted sampling: of N training images and a batch of B, q(z) = (1 / (N B)) sum_b
    q(z|x_b), and each q(z_j) likewise. It couples the images of a batch, and is biased.

    alpha, beta, gamma: the weights; the paper has alpha = gamma = 1. Raises Skip where q(z|x) is no diagonal Gaussian.
    """

    batch_coupled, one_group = True, True

    def __init__(self, train_size: int, *, alpha: float = 1.0, beta: float = 6.0, gamma: float = 1.0):
        super().__init__()
        if min(alpha, beta, gamma) < 0:
            raise VaezooError(f"alpha, beta and gamma must be 0 or more, got {alpha:g}, {beta:g} and {gamma:g}")
        self.train_size, self.alpha, self.beta, self.gamma = train_size, alpha, beta, gamma

    def estimates(self, draws: Draws) -> Tensor:
        """The ELBO minus what the weights add to it. [B]"""
        return bounds.elbo(draws) - self.added(draws)

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        return weighted_elbo(draws) - draws.kl_weight * self.added(draws)

    def added(self, draws: Draws) -> Tensor:
        """(alpha - 1) MI + (beta - 1) TC + (gamma - 1) DW, the mean over the samples. [B]"""
        joint, product = log_aggregate(draws.z[0], gaussian_posterior(draws, "beta-tc"), self.train_size)
        information = draws.log_posterior[0] - joint
        dimensions = product - draws.log_prior[0]
        terms = (self.alpha - 1) * information + (self.beta - 1) * (joint - product) + (self.gamma - 1) * dimensions
        return terms.mean(0)


def log_aggregate(z: Tensor, q: DiagonalGaussian, train_size: int) -> tuple[Tensor, Tensor]:
    """(log q(z), sum_j log q(z_j)) by minibatch-weighted sampling. z [K, B, Z] -> [K, B] each

    q: of the batch's images, [B, Z].
    """
    log_std = q.log_std.expand_as(q.mean)
    eps = (z[:, :, None] - q.mean) * torch.exp(-log_std)  # [K, B, B, Z], the last B being that of q
    each = -0.5 * eps.square() - log_std - 0.5 * math.log(2 * math.pi)
    constant = math.log(train_size * len(q.mean))
    return each.sum(-1).logsumexp(2) - constant, (each.logsumexp(2) - constant).sum(-1)
