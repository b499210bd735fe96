"""The beta-VAE objective."""

from torch import Tensor

from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError
from vaezoo.registry import register


@register.objective("beta", paper="Higgins et al. (2017), ICLR")
class Beta(Objective):
    """E_q[log p(x|z)] - beta w KL(q(z|x) || p(z)) of each image. [B]

    Equals the objective `elbo` at beta = 1. w is the weight of the KL warm-up, 1 after it.
    """

    def __init__(self, *, beta: float = 4.0):
        super().__init__()
        if beta < 0:
            raise VaezooError(f"beta must be 0 or more, got {beta:g}")
        self.beta = beta

    def estimates(self, draws: Draws) -> Tensor:
        """E_q[log p(x|z) - beta (log q(z|x) - log p(z))]. [B]"""
        ratio = (draws.log_posterior - draws.log_prior).sum(0)
        return (draws.log_likelihood - self.beta * ratio).mean(0)

    def forward(self, draws: Draws) -> Tensor:
        return draws.log_likelihood.mean(0) - self.beta * draws.kl_weight * draws.kl_estimate
