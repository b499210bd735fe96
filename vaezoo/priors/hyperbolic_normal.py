"""The wrapped normal prior on the Poincare ball."""

import math

import torch
from torch import Tensor

from vaezoo.core.contracts import Prior, Support
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.flows.poincare import WrappedNormal, log_isotropic, widest
from vaezoo.registry import register


@register.prior(
    "hyperbolic-normal", paper="Mathieu et al. (2019), arXiv:1901.06033; Nagano et al. (2019), arXiv:1902.02992"
)
class HyperbolicNormal(Prior):
    """p(z): the standard normal in the tangent space at the centre of the Poincare ball of curvature -c, wrapped.

    z is in the open unit ball of R^Z, whatever c is: a distance in the ball of curvature -c is that of curvature -1
    over sqrt(c), so with r = 2 artanh |z|, in nats and with respect to the volume (2 / (1 - |z|^2))^Z dz,

        log p(z) = log N(r / sqrt(c); 0, I) - Z/2 log c - (Z - 1) log(sinh(r) / r)

    It integrates to 1. As c becomes small, z / (sqrt(c) / 2) becomes standard normal.

    curvature: c, above 0 and at most 144 / (sqrt(Z) + 3)^2, so that float32 can tell samples from the border of the
    ball; with the curvature 1, Z is at most 81. Raises Skip above that, and VaezooError for a c that is not above 0.
    """

    support: Support = "ball"

    def __init__(self, latent: int, *, curvature: float = 1.0):
        super().__init__()
        if not curvature > 0:
            raise VaezooError(f"curvature must be above 0, got {curvature:g}")
        most = widest(latent) ** 2
        if curvature > most:
            raise Skip(
                f"prior 'hyperbolic-normal' of curvature {curvature:g} has too many latents, {latent}: float32 cannot "
                f"tell its samples from the border of the ball; take fewer, or a curvature of at most {most:.2g}"
            )
        self.std = math.sqrt(curvature)
        self.origin: Tensor
        self.register_buffer("origin", torch.zeros(latent), persistent=False)

    def log_density(self, z: Tensor) -> Tensor:
        return log_isotropic(z, self.std)

    def sample(self, n: int) -> Tensor:
        """n points at the ends of standard normal tangent vectors. [n, Z]"""
        return WrappedNormal(self.origin, torch.full_like(self.origin, math.log(self.std))).rsample(n)
