"""The continuous Bernoulli likelihood."""

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip
from vaezoo.registry import register

SMALL = 0.25
"""Below this size of a logit the series in place of the closed form, whose terms cancel there."""
SERIES = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800)
"""log(sinh(t / 2) / (t / 2)) = t^2 / 24 - t^4 / 2880 + .., whose next term is below 1e-15 up to SMALL."""


@register.likelihood("continuous-bernoulli", paper="Loaiza-Ganem and Cunningham (2019), arXiv:1907.06845")
class ContinuousBernoulli(Likelihood):
    """Independent pixels in [0, 1] with p(x) proportional to p^x (1 - p)^(1 - x); the parameters are logits l of p.

        log p(x) = x l - log((e^l - 1) / l),    E[x] = 1 / (1 - e^-l) - 1 / l

    in nats: the cross-entropy of `bernoulli` plus the logarithm of the normaliser C(p) = 2 atanh(1 - 2 p) / (1 - 2 p),
    which is 2 at p = 1/2. Integrates to 1 over [0, 1]. Raises Skip for images that are not declared to lie in [0, 1].
    """

    measures = ("continuous",)

    def __init__(self, spec: DataSpec):
        super().__init__()
        if spec.levels is None and spec.measure == "continuous":
            raise Skip(
                "continuous-bernoulli scores images in [0, 1], and these may lie anywhere; continuous images with "
                "levels lie there, as those of digits-dequantised"
            )
        self.parameter_shape = spec.shape

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        return (x * parameters - _log_normaliser(parameters)).flatten(2).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The derivative of log((e^l - 1) / l)."""
        size = parameters.abs()
        t = size.clamp(min=SMALL)
        above = 1 / -torch.expm1(-t) - 1 / t - 0.5  # of the half, at a logit of this size
        series = sum(2 * (n + 1) * c * size ** (2 * n + 1) for n, c in enumerate(SERIES))
        return 0.5 + parameters.sign() * torch.where(size < SMALL, series, above)

    def sample(self, parameters: Tensor) -> Tensor:
        """The quantile of a uniform number: -log(1 - u (1 - e^-t)) / t for the logit -t, and 1 minus it for t."""
        t = parameters.abs().clamp(min=1e-6)
        u = noise.uniform(*t.shape).to(t)
        low = ((u * torch.expm1(-t)).log1p() / -t).clamp(0, 1)
        return torch.where(parameters > 0, 1 - low, low)


def _log_normaliser(logits: Tensor) -> Tensor:
    """log((e^l - 1) / l), 0 at l = 0: max(l, 0) + log((1 - e^-|l|) / |l|), or l / 2 and the series. [...] -> [...]"""
    size = logits.abs()
    t = size.clamp(min=SMALL)
    far = logits.clamp(min=0) + (-torch.expm1(-t) / t).log()
    near = 0.5 * logits + sum(c * logits ** (2 * n + 2) for n, c in enumerate(SERIES))
    return torch.where(size < SMALL, near, far)
