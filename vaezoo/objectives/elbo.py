"""The evidence lower bound."""

from torch import Tensor

from vaezoo.core import bounds
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.registry import register


@register.objective("elbo", paper="Kingma and Welling (2014), arXiv:1312.6114")
class ELBO(Objective):
    """E_q[log p(x|z)] - w KL(q(z|x) || p(z)) of each image, with the KL in closed form where there is one. [B]

    w is the weight of the KL warm-up, 1 after it. importance_samples: the draws of z that are averaged for each image.
    """

    lower_bound = True

    def __init__(self, *, importance_samples: int = 1):
        super().__init__()
        self.importance_samples = importance_samples

    def estimates(self, draws: Draws) -> Tensor:
        """The bound `elbo`. [B]"""
        return bounds.elbo(draws)

    def forward(self, draws: Draws) -> Tensor:
        return draws.log_likelihood.mean(0) - draws.kl_weight * draws.kl_estimate
