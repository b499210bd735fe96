"""Bounds on log p(x), the only source of numbers for tables: Draws -> nats an image [B]."""

import math

from torch import Tensor

from vaezoo.core.draws import Draws


def elbo(draws: Draws) -> Tensor:
    """Evidence lower bound E_q[log p(x|z) + log p(z) - log q(z|x)] of each image, the mean of log w_k over K samples,
    in nats. [B]

    log p(x) - elbo = KL(q(z|x) || p(z|x)). Kingma and Welling (2014), arXiv:1312.6114.
    """
    return draws.log_weight.mean(0)


def iwll(draws: Draws) -> Tensor:
    """Importance-weighted bound log (1/K) sum_k w_k of each image, in nats. [B]

    Equals `elbo` at K = 1 and rises in expectation towards log p(x) with K. Burda et al. (2016), arXiv:1509.00519.
    """
    return draws.log_weight.logsumexp(0) - math.log(draws.log_weight.shape[0])
