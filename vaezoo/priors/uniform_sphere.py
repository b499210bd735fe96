"""The uniform prior on the sphere."""

from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.core.contracts import PosteriorDistribution, Prior, Support
from vaezoo.core.errors import Skip
from vaezoo.flows.sphere import VonMisesFisher, log_sphere_area
from vaezoo.registry import register


@register.prior("uniform-sphere", paper="Davidson et al. (2018), arXiv:1804.00891")
class UniformSphere(Prior):
    """p(z) = Gamma(Z/2) / (2 pi^(Z/2)) on the unit sphere in R^Z, with respect to its surface.

    Its KL divergence from a von Mises-Fisher posterior is in closed form, and 0 at concentration 0. It belongs to no
    dimension, so each of the Z dimensions has an equal share. Skips Z = 1, where the sphere is two points.
    """

    support: Support = "sphere"

    def __init__(self, latent: int):
        super().__init__()
        if latent < 2:
            raise Skip("prior 'uniform-sphere' needs latent = 2 or more: a sphere in one dimension is two points")
        self.latent = latent

    def log_density(self, z: Tensor) -> Tensor:
        return z.new_full(z.shape[:-1], -log_sphere_area(self.latent))

    def sample(self, n: int) -> Tensor:
        """The directions of n standard normal points. [n, Z]"""
        return F.normalize(noise.normal(n, self.latent), dim=-1)

    def kl(self, q: PosteriorDistribution) -> tuple[Tensor] | None:
        """KL(q || p) in nats, spread evenly over the dimensions, ([B, Z],); None where q is no von Mises-Fisher."""
        if not isinstance(q, VonMisesFisher):
            return None
        return ((q.kl_uniform() / self.latent).unsqueeze(-1).expand(-1, self.latent),)
