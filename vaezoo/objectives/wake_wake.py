"""Reweighted wake-sleep, with the wake-phase update of q."""

import math

from torch import Tensor

from vaezoo.core import bounds
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.objective_terms import weighted_at_fixed_samples
from vaezoo.registry import register


@register.objective(
    "wake-wake", paper="Bornschein and Bengio (2015), arXiv:1406.2751; Le et al. (2019), arXiv:1805.10469"
)
class WakeWake(Objective):
    """For prior, decoder and likelihood log (1/K) sum_k w_k; for encoder and posterior sum_k w~_k log q(z_k|x).

    The samples z_k ~ q(z|x) and the normalised weights w~_k = w_k / sum_j w_j are held fixed in both. The first is the
    gradient of the importance-weighted bound by the generative parameters. The second one, in the limit of K, is the
    gradient of -KL(p(z|x) || q(z|x)): q covers the posterior, and needs no gradient through its samples, so that codes
    are as good as points. It is no derivative of a function that training maximises: its mean depends on q also by the
    samples. Where q is the posterior its mean is 0, and so it is at K = 1, at which q learns nothing.

    log w_k = log p(x|z_k) + w (log p(z_k) - log q(z_k|x)), where w is the weight of the KL warm-up. The paper's sleep
    phase is left out. Raises Skip where q can score only its own samples.
    """

    lower_bound = True

    def __init__(self, *, importance_samples: int = 5):
        super().__init__()
        self.importance_samples = importance_samples

    def estimates(self, draws: Draws) -> dict[str, Tensor]:
        """The bound `iwll` for the generative parameters; none for the others. {"generative": [B]}"""
        return {"generative": bounds.iwll(draws)}

    def forward(self, draws: Draws) -> dict[str, Tensor]:
        """The value of each group of parameters. {"generative": [B], "inference": [B]}"""
        score, log_weight = weighted_at_fixed_samples(draws, "wake-wake")
        share = log_weight.detach().softmax(0)
        return {
            "generative": log_weight.logsumexp(0) - math.log(len(log_weight)),
            "inference": (share * score).sum(0),
        }
