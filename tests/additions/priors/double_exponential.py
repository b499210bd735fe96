"""The Laplace prior, under another name."""

import math

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Prior
from vaezoo.registry import register


@register.prior("double-exponential", paper="Geadah et al. (2024), Neural Computation 36(12)")
class DoubleExponential(Prior):
    """A product of Laplace densities of learned scales: log p(z) = -sum_j (|z_j| / b_j + log 2 b_j)."""

    def __init__(self, latent: int):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(latent))

    def log_density(self, z: Tensor) -> Tensor:
        return -(z.abs() * (-self.log_scale).exp() + self.log_scale + math.log(2)).sum(-1)

    def sample(self, n: int) -> Tensor:
        u = noise.uniform(n, len(self.log_scale)) - 0.5
        return -self.log_scale.exp() * u.sign() * torch.log1p(-2 * u.abs())
