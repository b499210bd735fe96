"""The Laplace likelihood."""

import math

from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.nets.scale import Kind, Scale
from vaezoo.registry import register


@register.likelihood("laplace", paper="Laplace (1774), Mémoire sur la probabilité des causes par les événements")
class Laplace(Likelihood):
    """p(x|z) = exp(-|x - m(z)| / s) / (2 s), of independent pixels: an absolute error. Integrates to 1.

    The mean is m, the variance 2 s^2. scale: what s is, `learned` (one parameter), `fixed` (`initial_scale`) or
    `per-pixel` (the decoder's second output, so that the parameters are [2, *shape]). It stays above `min_scale`.
    """

    measures = ("continuous",)

    def __init__(self, spec: DataSpec, *, scale: Kind = "learned", initial_scale: float = 0.5, min_scale: float = 1e-3):
        super().__init__()
        self.scale = Scale(scale, initial_scale, min_scale, ("initial_scale", "min_scale"))
        self.parameter_shape = self.scale.parameter_shape(spec.shape)
        self.axes = len(spec.shape)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|z) of each image in nats."""
        location, scale = self.scale(parameters, self.axes)
        value: Tensor = -((x - location).abs() / scale + scale.log()).flatten(2).sum(-1)
        return value - x[0].numel() * math.log(2)

    def mean(self, parameters: Tensor) -> Tensor:
        location: Tensor = self.scale(parameters, self.axes)[0]
        return location

    def sample(self, parameters: Tensor) -> Tensor:
        """m + s log(2 u) below the median u = 1/2, and m - s log(2 (1 - u)) above it."""
        location, scale = self.scale(parameters, self.axes)
        u = noise.uniform(*location.shape).to(location) - 0.5
        drawn: Tensor = location - scale * u.sign() * (-2 * u.abs()).log1p()
        return drawn
