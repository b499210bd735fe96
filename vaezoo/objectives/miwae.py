"""The mean of several importance-weighted bounds."""

from torch import Tensor

from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.objective_terms import mean_of_bounds, samples_of_bounds, weighted_log_weight
from vaezoo.registry import register


@register.objective("miwae", paper="Rainforth et al. (2018), arXiv:1802.04537")
class MIWAE(Objective):
    """(1/M) sum_m log (1/K) sum_k w_mk of each image, the mean of M independent bounds of IWAE. [B]

    The signal-to-noise ratio of the encoder's gradient rises with sqrt(M / K), and the bound's tightness with K. Equals
    the objective `iwae` at M = 1 and the bound `elbo` at K = 1.

    bounds: M. samples_per_bound: K. A step draws M K samples of each image.
    """

    lower_bound = True

    def __init__(self, *, bounds: int = 4, samples_per_bound: int = 4):
        super().__init__()
        self.bounds, self.importance_samples = bounds, samples_of_bounds(bounds, samples_per_bound)

    def estimates(self, draws: Draws) -> Tensor:
        """The mean of the bound over groups of samples. [B]"""
        return mean_of_bounds(draws.log_weight, self.bounds)

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        return mean_of_bounds(weighted_log_weight(draws), self.bounds)
