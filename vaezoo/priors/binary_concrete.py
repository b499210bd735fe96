"""The binary concrete prior: relaxed bits of learned probabilities."""

import torch
from torch import Tensor, nn

from vaezoo.core.contracts import Prior
from vaezoo.core.errors import VaezooError
from vaezoo.nets.logistic import binary_concrete
from vaezoo.registry import register


@register.prior("binary-concrete", paper="Maddison et al. (2017), arXiv:1611.00712")
class BinaryConcrete(Prior):
    """p(z): sigmoid(z_j) is a relaxed bit, BinConcrete(exp(logit_j), temperature), with learned logits that start at 0.

    z is the relaxed bit's logit, and the density is with respect to z: a logistic one of mean logit / temperature and
    scale 1 / temperature, which integrates to 1 over the real line. VaezooError for a temperature that is not above 0.
    """

    def __init__(self, latent: int, *, temperature: float = 0.5):
        super().__init__()
        if not temperature > 0:
            raise VaezooError(f"temperature must be above 0, got {temperature:g}")
        self.logits = nn.Parameter(torch.zeros(latent))
        self.temperature = temperature

    def log_density(self, z: Tensor) -> Tensor:
        return binary_concrete(self.logits, self.temperature).log_density(z)

    def sample(self, n: int) -> Tensor:
        """n draws. [n, Z]"""
        return binary_concrete(self.logits, self.temperature).rsample(n)
