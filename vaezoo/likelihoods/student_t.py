"""The Student-t likelihood."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError
from vaezoo.nets.scale import Kind, Scale
from vaezoo.registry import register


@register.likelihood("student-t", paper="Takahashi et al. (2018), IJCAI, doi:10.24963/ijcai.2018/374")
class StudentT(Likelihood):
    """p(x|z) = t(x; m(z), s, df), of independent pixels, whose heavy tails let a few pixels be far off.

        log t = lgamma((df + 1) / 2) - lgamma(df / 2) - 0.5 log(pi df) - log s - (df + 1) / 2 log(1 + y^2 / df)

    in nats, with y = (x - m) / s. Integrates to 1. df > 1 is learned, one for all pixels, and starts at `initial_df`;
    the mean is m. Equals `gaussian` in the limit of large df. The terms of df alone are computed in float64, since
    differences of lgamma cancel. scale: what s is, `learned` (one parameter), `fixed` (`initial_scale`) or `per-pixel`
    (the decoder's second output, so that the parameters are [2, *shape]). It stays above `min_scale`.
    """

    measures = ("continuous",)

    def __init__(
        self,
        spec: DataSpec,
        *,
        scale: Kind = "learned",
        initial_df: float = 5.0,
        initial_scale: float = 0.5,
        min_scale: float = 1e-3,
    ):
        super().__init__()
        if not 1 < initial_df <= 1000:
            raise VaezooError(f"initial_df must lie above 1 (for a mean to exist) and up to 1000, got {initial_df:g}")
        self.scale = Scale(scale, initial_scale, min_scale, ("initial_scale", "min_scale"))
        self.parameter_shape = self.scale.parameter_shape(spec.shape)
        self.axes = len(spec.shape)
        above = initial_df - 1
        self.raw_df = nn.Parameter(torch.tensor(above + math.log(-math.expm1(-above))))

    @property
    def df(self) -> Tensor:
        """The degrees of freedom, 1 + softplus(raw_df), a scalar in float64."""
        return 1 + F.softplus(self.raw_df.double())

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|z) of each image in nats."""
        location, scale = self.scale(parameters, self.axes)
        df = self.df
        constant = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * (math.pi * df).log()
        df, half, constant = df.to(x), ((df + 1) / 2).to(x), constant.to(x)
        squares = ((x - location) / scale).square()
        value: Tensor = (constant - scale.log() - half * (squares / df).log1p()).flatten(2).sum(-1)
        return value

    def mean(self, parameters: Tensor) -> Tensor:
        location: Tensor = self.scale(parameters, self.axes)[0]
        return location

    def sample(self, parameters: Tensor) -> Tensor:
        """m plus s times a normal number over the root of a gamma one of mean 1."""
        location, scale = self.scale(parameters, self.axes)
        half = (0.5 * self.df).expand(location.shape)
        gamma = (noise.gamma(half) / half).to(location)
        drawn: Tensor = location + scale * noise.normal(*location.shape).to(location) * gamma.rsqrt()
        return drawn
