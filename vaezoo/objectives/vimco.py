"""Variational inference for Monte Carlo objectives."""

import math

import torch
from torch import Tensor

from vaezoo.core import bounds
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError
from vaezoo.core.objective_terms import weighted_at_fixed_samples
from vaezoo.registry import register


@register.objective("vimco", paper="Mnih and Rezende (2016), arXiv:1602.06725")
class VIMCO(Objective):
    """log (1/K) sum_k w_k of each image, whose gradient by q comes from the samples' scores, not through them. [B]

    The gradient is that of log (1/K) sum_k w_k at fixed samples, plus sum_k (L - L_k) d log q(z_k|x). L is the bound,
    and L_k is the bound with the mean of the other log-weights in the place of log w_k, which does not depend on z_k:
    so the gradient has the right mean for any q, also of discrete codes. The value is the bound, because the scores
    enter with value 0. log w_k = log p(x|z_k) + w (log p(z_k) - log q(z_k|x)), where w is the weight of the KL warm-up.

    importance_samples: K, 2 or more; VaezooError for less. Raises Skip where q can score only its own samples.
    """

    lower_bound = True

    def __init__(self, *, importance_samples: int = 5):
        super().__init__()
        if importance_samples < 2:
            raise VaezooError(f"importance_samples must be 2 or more, got {importance_samples}")
        self.importance_samples = importance_samples

    def estimates(self, draws: Draws) -> Tensor:
        """The bound `iwll`. [B]"""
        return bounds.iwll(draws)

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        if len(draws.z[0]) < 2:
            raise VaezooError("objective 'vimco' compares each sample with the others: it needs 2 samples or more")
        score, log_weight = weighted_at_fixed_samples(draws, "vimco")
        bound = log_weight.logsumexp(0) - math.log(len(log_weight))
        signal = (bound - without_each(log_weight)).detach()
        return bound + (signal * (score - score.detach())).sum(0)


def without_each(log_weight: Tensor) -> Tensor:
    """The bound with the mean of the other log-weights in the place of each one, in nats. [K, B] -> [K, B]"""
    count = len(log_weight)
    others = (log_weight.sum(0) - log_weight) / (count - 1)
    own = torch.eye(count, dtype=torch.bool, device=log_weight.device)[..., None]
    replaced = torch.where(own, others[:, None], log_weight[None])  # [K, K, B]
    return replaced.logsumexp(1) - math.log(count)
