"""The Student-t prior."""

import math

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Prior
from vaezoo.core.errors import VaezooError
from vaezoo.core.gaussian import bounded_log_std
from vaezoo.registry import register


@register.prior("student-t", paper="Mathieu et al. (2019), arXiv:1812.02833")
class StudentT(Prior):
    """p(z) = prod_j t(z_j; df_j), whose tails are heavier than the normal ones: codes may lie far out.

        log t(z; df) = lgamma((df + 1) / 2) - lgamma(df / 2) - 0.5 log(pi df) - (df + 1) / 2 log(1 + z^2 / df)

    in nats. Each dimension learns its degrees of freedom, or all keep the given number. Their logarithm is bounded in
    (-8, 8), as a log standard deviation is. Equals the prior `normal` in the limit of large df; df = 1 is Cauchy's
    distribution. The terms of df alone are computed in float64, since differences of lgamma cancel.

    df: degrees of freedom, of learned ones those at the start. learned: whether they are learned. Raises VaezooError
    where df does not lie in the range of the bound.
    """

    def __init__(self, latent: int, *, df: float = 5.0, learned: bool = True):
        super().__init__()
        if not math.exp(-7) <= df <= math.exp(7):
            raise VaezooError(f"df must lie between {math.exp(-7):.4f} and {math.exp(7):.0f}, got {df:g}")
        self.log_df: Tensor
        log_df = torch.full((latent,), math.log(df))
        if learned:
            self.log_df = nn.Parameter(log_df)
        else:
            self.register_buffer("log_df", log_df)

    def log_density(self, z: Tensor) -> Tensor:
        """log p(z) in nats. [..., Z] -> [...]"""
        df = bounded_log_std(self.log_df).double().exp()
        constant = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * (math.pi * df).log()
        half = ((df + 1) / 2).to(z)
        return (constant.to(z) - half * (z.square() / df.to(z)).log1p()).sum(-1)

    def sample(self, n: int) -> Tensor:
        """A normal number over the root of a gamma one of mean 1. [n, Z]"""
        half = 0.5 * bounded_log_std(self.log_df).exp().expand(n, -1)
        gamma = noise.gamma(half) / half
        return noise.normal(*half.shape).to(gamma) * gamma.rsqrt()
