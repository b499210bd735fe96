"""A new prior, from the idea to a table of results. The idea: a logistic distribution has heavier tails than a normal.

    vaezoo check examples/new_prior.py
    vaezoo run examples/new_prior.toml

The first command proves that the density integrates to 1 and that the samples follow it; the second trains the VAE with
this prior beside the VAE with the normal prior and prints their table.
"""

import math

from torch import Tensor
from torch.nn import functional as F

import vaezoo


@vaezoo.register.prior("logistic")
class Logistic(vaezoo.Prior):
    """p(z) = prod_j Logistic(z_j; 0, scale), whose variance is (pi scale)^2 / 3: 1 at the default scale.

    Arguments before `*` come from the builder, those after it from a matrix file. The KL divergence has no closed form,
    so it is estimated from the samples.
    """

    replayable = True  # the methods store to nothing but local names

    def __init__(self, latent: int, *, scale: float = math.sqrt(3) / math.pi):
        super().__init__()
        self.latent, self.scale = latent, scale

    def log_density(self, z: Tensor) -> Tensor:
        """log p(z) in nats. [..., Z] -> [...]"""
        u = z / self.scale
        return -(u + 2 * F.softplus(-u) + math.log(self.scale)).sum(-1)

    def sample(self, n: int) -> Tensor:
        """The quantile function of uniform numbers. [n, Z]"""
        return self.scale * vaezoo.noise.uniform(n, self.latent).logit()


vaezoo.register.variant(vaezoo.Variant("vae-logistic", prior="logistic", about="the VAE with a logistic prior"))
