"""The discretised logistic likelihood."""

from torch import Tensor

from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError
from vaezoo.nets.levels import bounded_log_scale, level_log_prob, level_mean, level_sample
from vaezoo.registry import register


@register.likelihood("discretized-logistic", paper="Kingma et al. (2016), arXiv:1606.04934")
class DiscretizedLogistic(Likelihood):
    """The probability that a logistic variable with the decoder's mean and scale falls into the bin of a pixel's level.

    P(k) = S((x + d/2 - m)/s) - S((x - d/2 - m)/s) with x = k/(levels-1), d = 1/(levels-1) and S the logistic function.
    The first bin reaches to -infinity and the last to +infinity, so the levels sum to 1. The parameters are
    [2, *shape]: the offset of the mean m from 1/2, and r with log s = min_log_scale + softplus(r - 2 - min_log_scale).
    """

    measures = ("discrete",)

    def __init__(self, spec: DataSpec, *, min_log_scale: float = -7.0):
        super().__init__()
        if spec.levels is None or spec.levels < 2:
            raise VaezooError(f"discretized-logistic needs images of 2 or more levels, got levels={spec.levels}")
        self.levels, self.min_log_scale = spec.levels, min_log_scale
        self.parameter_shape = (2, *spec.shape)

    def _mean_and_log_scale(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        axis = parameters.ndim - len(self.parameter_shape)
        mean, raw = parameters.unbind(axis)
        return mean + 0.5, bounded_log_scale(raw, self.min_log_scale)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log P(x|z) summed over pixels, in nats."""
        return level_log_prob(x, *self._mean_and_log_scale(parameters), self.levels).flatten(2).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """E[x|z], exact."""
        return level_mean(*self._mean_and_log_scale(parameters), self.levels)

    def sample(self, parameters: Tensor) -> Tensor:
        """A logistic draw, rounded to the nearest level."""
        return level_sample(*self._mean_and_log_scale(parameters), self.levels)
