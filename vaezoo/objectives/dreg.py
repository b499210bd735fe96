"""The doubly reparameterised gradient of the importance-weighted bound."""

import math

from torch import Tensor

from vaezoo.core import bounds
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.registry import register


@register.objective("dreg", paper="Tucker et al. (2019), arXiv:1810.04152")
class DReG(Objective):
    """The value of `iwae` for prior, decoder and likelihood; for encoder and posterior a surrogate, whose gradient has
    the same mean as IWAE's and a smaller variance.

    With w~_k = w_k / sum_j w_j held fixed, the surrogate is sum_k w~_k^2 log w_k, in which log q(z_k|x) has a gradient
    through z_k alone. Where a KL warm-up weighs log p(z) - log q(z|x) by v, c_k = w~_k + v (w~_k^2 - w~_k) stands for
    w~_k^2. In a prior that encodes images (`vampprior`) log p(z) itself depends on the encoder's weights. Their right
    factor is w~_k, so the surrogate adds (w~_k - c_k) v log p(z_k) at a fixed z_k.

    At K = 1 it is the path derivative of the ELBO (Roeder et al. 2017, arXiv:1703.09194). Raises Skip where q can score
    only its own samples.
    """

    lower_bound, surrogate = True, True

    def __init__(self, *, importance_samples: int = 5):
        super().__init__()
        self.importance_samples = importance_samples

    def estimates(self, draws: Draws) -> Tensor:
        """The bound `iwll`. [B]"""
        return bounds.iwll(draws)

    def forward(self, draws: Draws) -> dict[str, Tensor]:
        """The value of each group of parameters. {"generative": [B], "inference": [B]}"""
        weight = draws.kl_weight
        log_prior = draws.log_prior.sum(0)
        log_weight = draws.log_likelihood + weight * (log_prior - draws.log_posterior.sum(0))
        through_z = draws.log_likelihood + weight * (log_prior - draws.log_posterior_stopped.sum(0))
        share = log_weight.detach().softmax(0)
        squared = share + weight * (share.square() - share)
        fixed = tuple(group.detach() for group in draws.z)
        direct = draws.model.log_prior(draws.batch, fixed).sum(0)
        return {
            "generative": log_weight.logsumexp(0) - math.log(len(log_weight)),
            "inference": (squared * through_z + (share - squared) * weight * direct).sum(0),
        }
