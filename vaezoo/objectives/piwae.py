"""Different importance-weighted bounds for the inference and for the generative network."""

from torch import Tensor

from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.objective_terms import mean_of_bounds, samples_of_bounds, weighted_log_weight
from vaezoo.registry import register


@register.objective("piwae", paper="Rainforth et al. (2018), arXiv:1802.04537")
class PIWAE(Objective):
    """IWAE's bound of all M K samples for prior, decoder and likelihood, and the mean of M bounds of K samples each, as
    `miwae` has it, for encoder and posterior.

    So the generative network has the tighter bound, and the inference network the gradient with less noise. Equals
    `iwae` at M = 1; at K = 1 encoder and posterior train on the ELBO.

    bounds: M. samples_per_bound: K. A step draws M K samples of each image.
    """

    lower_bound = True

    def __init__(self, *, bounds: int = 4, samples_per_bound: int = 4):
        super().__init__()
        self.bounds, self.importance_samples = bounds, samples_of_bounds(bounds, samples_per_bound)

    def estimates(self, draws: Draws) -> dict[str, Tensor]:
        """The bound of each group of parameters. {"generative": [B], "inference": [B]}"""
        return self._bounds(draws.log_weight)

    def forward(self, draws: Draws) -> dict[str, Tensor]:
        """The value of each group of parameters. {"generative": [B], "inference": [B]}"""
        return self._bounds(weighted_log_weight(draws))

    def _bounds(self, log_weight: Tensor) -> dict[str, Tensor]:
        return {"generative": mean_of_bounds(log_weight, 1), "inference": mean_of_bounds(log_weight, self.bounds)}
