"""The mixture-of-Gaussians prior."""

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Prior
from vaezoo.core.errors import VaezooError
from vaezoo.core.gaussian import DiagonalGaussian, mixture_log_density
from vaezoo.registry import register


@register.prior("mixture", paper="Tomczak and Welling (2018), arXiv:1705.07120, as their MoG prior")
class Mixture(Prior):
    """p(z) = sum_c w_c N(z; mean_c, std_c), weights, means and diagonal scales learned.

    components: C. spread: standard deviation of the initial means.
    """

    def __init__(self, latent: int, *, components: int = 10, spread: float = 1.0):
        super().__init__()
        if components < 1:
            raise VaezooError(f"components must be 1 or more, got {components}")
        self.mean = nn.Parameter(spread * torch.randn(components, latent))
        self.log_std = nn.Parameter(torch.zeros(components, latent))
        self.logit = nn.Parameter(torch.zeros(components))

    def log_density(self, z: Tensor) -> Tensor:
        return mixture_log_density(z, self.mean, self.log_std, self.logit.log_softmax(0))

    def sample(self, n: int) -> Tensor:
        """Draws a component by its weight, then a point from it. [n, Z]"""
        edges = self.logit.softmax(0).cumsum(0)
        chosen = (noise.uniform(n, 1).to(edges) > edges).sum(-1).clamp(max=len(edges) - 1)
        return DiagonalGaussian(self.mean[chosen], self.log_std[chosen]).rsample(1)[0]
