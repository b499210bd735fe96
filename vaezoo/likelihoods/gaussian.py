"""The Gaussian likelihood with one learned scale."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.registry import register


@register.likelihood("gaussian")
class Gaussian(Likelihood):
    """p(x|z) = N(x; mean(z), std^2 I): the parameters are the mean; one std is learned for all pixels.

    std = min_std + softplus(raw) starts at `initial_std` and stays above `min_std`, so that the density stays bounded
    on images with constant pixels.
    """

    measures = ("continuous",)

    def __init__(self, spec: DataSpec, *, initial_std: float = 0.5, min_std: float = 1e-3):
        super().__init__()
        if not 0 < min_std < initial_std:
            raise VaezooError(f"0 < min_std < initial_std is needed, got min_std={min_std}, initial_std={initial_std}")
        self.parameter_shape, self.min_std = spec.shape, min_std
        self.raw = nn.Parameter(torch.tensor(math.log(math.expm1(initial_std - min_std))))

    @property
    def std(self) -> Tensor:
        """The one standard deviation, a scalar."""
        return self.min_std + F.softplus(self.raw)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        mean = parameters.flatten(2)
        return DiagonalGaussian(mean, self.std.log()).log_density(x.flatten(1))

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters

    def sample(self, parameters: Tensor) -> Tensor:
        return DiagonalGaussian(parameters, self.std.log()).rsample(1)[0]
