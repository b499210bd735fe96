"""The importance-weighted autoencoder's objective."""

import math

from torch import Tensor

from vaezoo.core import bounds
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.registry import register


@register.objective("iwae", paper="Burda et al. (2016), arXiv:1509.00519")
class IWAE(Objective):
    """log (1/K) sum_k w_k of each image, with gradients through the samples. [B]

    log w_k = log p(x|z_k) + w (log p(z_k) - log q(z_k|x)), where w is the weight of the KL warm-up. Equals the bound
    `iwll` at w = 1.
    """

    lower_bound = True

    def __init__(self, *, importance_samples: int = 5):
        super().__init__()
        self.importance_samples = importance_samples

    def estimates(self, draws: Draws) -> Tensor:
        """The bound `iwll`. [B]"""
        return bounds.iwll(draws)

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        log_ratio = (draws.log_prior - draws.log_posterior).sum(0)
        log_weight = draws.log_likelihood + draws.kl_weight * log_ratio
        return log_weight.logsumexp(0) - math.log(log_weight.shape[0])
