"""A combination of the ELBO and the importance-weighted bound."""

from torch import Tensor

from vaezoo.core import bounds
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError
from vaezoo.core.objective_terms import mean_of_bounds, weighted_elbo, weighted_log_weight
from vaezoo.registry import register


@register.objective("ciwae", paper="Rainforth et al. (2018), arXiv:1802.04537")
class CIWAE(Objective):
    """beta ELBO + (1 - beta) log (1/K) sum_k w_k of each image, both of the same K samples. [B]

    Equals the objective `elbo` at beta = 1 and `iwae` at beta = 0. The ELBO has its KL in closed form where there is
    one.

    elbo_weight: beta, in 0..1. importance_samples: K.
    """

    lower_bound = True

    def __init__(self, *, elbo_weight: float = 0.5, importance_samples: int = 5):
        super().__init__()
        if not 0 <= elbo_weight <= 1:
            raise VaezooError(f"elbo_weight must be in 0..1, got {elbo_weight:g}")
        self.elbo_weight, self.importance_samples = elbo_weight, importance_samples

    def estimates(self, draws: Draws) -> Tensor:
        """The combination of the bounds `elbo` and `iwll`. [B]"""
        return self.elbo_weight * bounds.elbo(draws) + (1 - self.elbo_weight) * bounds.iwll(draws)

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        tight = mean_of_bounds(weighted_log_weight(draws), 1)
        return self.elbo_weight * weighted_elbo(draws) + (1 - self.elbo_weight) * tight
