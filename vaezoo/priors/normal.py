"""The standard normal prior."""

from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import PosteriorDistribution, Prior
from vaezoo.core.gaussian import HALF_LOG_TWO_PI
from vaezoo.registry import register


@register.prior("normal", paper="Kingma and Welling (2014), arXiv:1312.6114")
class Normal(Prior):
    """p(z) = N(0, I). Its KL divergence from a Gaussian posterior is in closed form."""

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(-1) - z.shape[-1] * HALF_LOG_TWO_PI

    def sample(self, n: int) -> Tensor:
        return noise.normal(n, self.latent)

    def kl(self, q: PosteriorDistribution) -> tuple[Tensor] | None:
        return None if q.gaussian is None else (q.gaussian.kl_standard_normal(),)
