"""The mixture of discretised logistics, whose colours are coupled."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError
from vaezoo.nets.levels import bounded_log_scale, level_log_prob, level_mean, level_sample
from vaezoo.registry import register

ENUMERATED = 16
"""Up to so many levels the mean of a later colour goes through every level of the earlier ones."""
NODES = 8
"""Of the Gauss-Legendre rule in its place, beside one node for the first level and one for the last."""


@register.likelihood("logistic-mixture", paper="Salimans et al. (2017), arXiv:1701.05517")
class LogisticMixture(Likelihood):
    """A mixture of discretised logistics for each pixel; within a component each colour depends on those before it.

        P(x_1 .. x_C) = sum_m w_m prod_c P(x_c; mean m_mc + sum_{j < c} a_mcj (x_j - 1/2), scale s_mc)

    with the bins of `discretized-logistic`. The levels sum to 1, of all colours together. An image [C, H, W] has C
    colours, any other one. The parameters are [n, H, W] (or [n, *shape]) with n = M (1 + 2 C + C (C - 1) / 2): of M
    components the logits of w, the offsets of the means, which start at (m + 1/2) / M, the scales as there, and the
    couplings a = tanh(r). One component of one colour is `discretized-logistic`.
    """

    measures = ("discrete",)

    def __init__(self, spec: DataSpec, *, components: int = 5, min_log_scale: float = -7.0):
        super().__init__()
        if spec.levels is None or spec.levels < 2:
            raise VaezooError(f"logistic-mixture needs images of 2 or more levels, got levels={spec.levels}")
        if components < 1:
            raise VaezooError(f"components must be 1 or more, got {components}")
        self.levels, self.components, self.min_log_scale = spec.levels, components, min_log_scale
        self.colours = spec.shape[0] if len(spec.shape) == 3 else 1
        self.shape, self.places = spec.shape, spec.shape[1:] if len(spec.shape) == 3 else spec.shape
        pairs = self.colours * (self.colours - 1) // 2
        self.sizes = [1, self.colours, self.colours, pairs]
        self.parameter_shape = (components * sum(self.sizes), *self.places)

    def _split(self, parameters: Tensor) -> "_Mixture":
        """The mixture of each pixel, M components on an axis before the colours."""
        lead = parameters.shape[: parameters.ndim - len(self.parameter_shape)]
        each = parameters.reshape(*lead, self.components, sum(self.sizes), -1)
        logits, offset, raw, coupling = each.split(self.sizes, -2)
        centre = (torch.arange(self.components, device=each.device, dtype=each.dtype) + 0.5) / self.components
        log_weight = logits.squeeze(-2).log_softmax(-2)
        log_scale = bounded_log_scale(raw, self.min_log_scale)
        return _Mixture(log_weight, offset + centre[:, None, None], log_scale, coupling.tanh())

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log P(x|z) summed over pixels, in nats."""
        mixture = self._split(parameters)
        colours = x.reshape(len(x), 1, self.colours, -1).unbind(2)  # each [B, 1, pixels]
        value = mixture.log_weight
        for c, colour in enumerate(colours):
            mean, log_scale = mixture.mean_of(c, colours), mixture.log_scale[..., c, :]
            value = value + level_log_prob(colour, mean, log_scale, self.levels)
        return value.logsumexp(-2).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """E[x|z]: exact for one colour, and for more in up to ENUMERATED levels.

        For more levels a later colour's mean is that without rounding, over a quadrature of the earlier colours: half a
        level off at most, and much less where the scale is a level or more.
        """
        mixture = self._split(parameters)
        weight = mixture.log_weight.exp()
        probability = torch.ones_like(weight).unsqueeze(-2)  # [.., M, nodes, pixels], of the colours before
        before: list[Tensor] = []
        means = []
        for c in range(self.colours):
            centre, log_scale = mixture.mean_of(c, before, nodes=True), mixture.log_scale[..., c, :].unsqueeze(-2)
            exact = c == 0 or self.levels <= ENUMERATED
            here = level_mean(centre, log_scale, self.levels) if exact else _unrounded_mean(centre, log_scale)
            means.append((weight * (probability * here).sum(-2)).sum(-2))
            if c + 1 < self.colours:
                values, share = self._nodes(centre, log_scale)  # [.., M, nodes, more, pixels]
                probability = (probability.unsqueeze(-2) * share).flatten(-3, -2)
                before = [each.unsqueeze(-2).expand_as(share).flatten(-3, -2) for each in before]
                before.append(values.expand_as(share).flatten(-3, -2))
        found = torch.stack(means, -2)
        return found.reshape(*found.shape[:-2], *self.shape)

    def _nodes(self, centre: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Values of a colour and their probabilities: every level, or the first, the last, and a rule between them."""
        centre, log_scale = centre.unsqueeze(-2), log_scale.unsqueeze(-2)
        if self.levels <= ENUMERATED:
            values = torch.arange(self.levels, device=centre.device, dtype=centre.dtype)[:, None] / (self.levels - 1)
            return values, level_log_prob(values, centre, log_scale, self.levels).exp()
        half, precision = 0.5 / (self.levels - 1), (-log_scale).exp()
        first, last = ((half - centre) * precision).sigmoid(), ((centre - 1 + half) * precision).sigmoid()
        rule = torch.from_numpy(np.stack(np.polynomial.legendre.leggauss(NODES))).to(centre)
        inside = (1 - first - last).clamp(min=0)
        u = (first + inside * (rule[0][:, None] + 1) / 2).clamp(1e-6, 1 - 1e-6)
        between = (centre + log_scale.exp() * u.logit()).clamp(0, 1)
        values = torch.cat([torch.zeros_like(first), between, torch.ones_like(last)], -2)
        return values, torch.cat([first, inside * rule[1][:, None] / 2, last], -2)

    def sample(self, parameters: Tensor) -> Tensor:
        """A component for each pixel, then its colours in turn, each rounded to the nearest level."""
        mixture = self._split(parameters)
        chosen = noise.categorical(mixture.log_weight.movedim(-2, -1)).unsqueeze(-2)  # [.., 1, pixels]
        drawn: list[Tensor] = []
        for c in range(self.colours):
            earlier = [each.unsqueeze(-2) for each in drawn]
            mean = mixture.mean_of(c, earlier).gather(-2, chosen).squeeze(-2)
            log_scale = mixture.log_scale[..., c, :].gather(-2, chosen).squeeze(-2)
            drawn.append(level_sample(mean, log_scale, self.levels))
        found = torch.stack(drawn, -2)
        return found.reshape(*found.shape[:-2], *self.shape)


class _Mixture:
    """M components of each pixel: log_weight [.., M, pixels], mean and log_scale [.., M, C, pixels], coupling
    [.., M, C (C - 1) / 2, pixels], those of colour 1 first.
    """

    def __init__(self, log_weight: Tensor, mean: Tensor, log_scale: Tensor, coupling: Tensor):
        self.log_weight, self.mean, self.log_scale, self.coupling = log_weight, mean, log_scale, coupling

    def mean_of(self, c: int, before: Sequence[Tensor], nodes: bool = False) -> Tensor:
        """The mean of colour c, given those before it. [.., M, pixels], or [.., M, nodes, pixels]

        before: what broadcasts to it, of each earlier colour (and, unread, of later ones).
        """
        first = c * (c - 1) // 2
        mean, couplings = self.mean[..., c, :], self.coupling[..., first : first + c, :].unbind(-2)
        if nodes:
            mean, couplings = mean.unsqueeze(-2), tuple(each.unsqueeze(-2) for each in couplings)
        for coupling, colour in zip(couplings, before, strict=False):
            mean = mean + coupling * (colour - 0.5)
        return mean


def _unrounded_mean(mean: Tensor, log_scale: Tensor) -> Tensor:
    """E[min(max(v, 0), 1)] of a logistic v: s (softplus(m / s) - softplus((m - 1) / s)). [...] -> [...]"""
    scale = log_scale.exp()
    return scale * (F.softplus(mean / scale) - F.softplus((mean - 1) / scale))
