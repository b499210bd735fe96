"""The DIP-VAE objectives, I and II."""

from typing import Literal

from torch import Tensor

from vaezoo.core import bounds
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError
from vaezoo.core.objective_terms import gaussian_posterior, weighted_elbo
from vaezoo.registry import register


@register.objective("dip", paper="Kumar et al. (2018), arXiv:1711.00848")
class DIP(Objective):
    """ELBO - a sum_{i != j} C_ij^2 - b sum_i (C_ii - 1)^2, where C is a covariance of the aggregate posterior. [B]

    DIP-VAE-I: C = Cov_x[mean(x)], of the means of q(z|x). DIP-VAE-II: C = Cov_x[mean(x)] + E_x[diag(std(x)^2)], the
    covariance of q(z) itself. Both are those of the batch (divided by B), so that its images are coupled. The weight of
    the KL warm-up also weighs the penalty. Equals the objective `elbo` at a = b = 0; the penalty is 0 where C = I.

    version: 1 or 2. off_diagonal: a. diagonal: b; the paper takes 10 a for I and a for II. Raises Skip where q(z|x) is
    no diagonal Gaussian.
    """

    batch_coupled, one_group, lower_bound = True, True, True

    def __init__(self, *, version: Literal[1, 2] = 2, off_diagonal: float = 10.0, diagonal: float = 10.0):
        super().__init__()
        if off_diagonal < 0 or diagonal < 0:
            raise VaezooError(f"off_diagonal and diagonal must be 0 or more, got {off_diagonal:g} and {diagonal:g}")
        self.version, self.off_diagonal, self.diagonal = version, off_diagonal, diagonal

    def estimates(self, draws: Draws) -> Tensor:
        """The ELBO minus the penalty. [B]"""
        return bounds.elbo(draws) - self.penalty(draws)

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        return weighted_elbo(draws) - draws.kl_weight * self.penalty(draws)

    def penalty(self, draws: Draws) -> Tensor:
        """a sum_{i != j} C_ij^2 + b sum_i (C_ii - 1)^2 of the batch. A scalar."""
        q = gaussian_posterior(draws, "dip")
        centred = q.mean - q.mean.mean(0)
        covariance = centred.T @ centred / len(centred)
        variance = covariance.diagonal()
        others = covariance.square().sum() - variance.square().sum()
        if self.version == 2:
            variance = variance + q.std.expand_as(q.mean).square().mean(0)
        return self.off_diagonal * others + self.diagonal * (variance - 1).square().sum()
