"""The Bernoulli likelihood."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.torch_internals import forward_derivative_active, transform_active
from vaezoo.registry import register

FACTORS = 100
"""The most numbers of [1, 2] that are multiplied at once: float32, bfloat16 and float64 hold the product of 127."""
PIECE = 2**17
"""The most logits that each thread of a CPU works on at once: their intermediate results stay in its own cache."""


@register.likelihood("bernoulli")
class Bernoulli(Likelihood):
    """Independent binary pixels; the parameters are logits.

    log p(x|l) = x l - log(1 + e^l), computed from the logits l, so that no probability is clamped. Sums to 1 over
    {0, 1}.
    """

    measures = ("binary",)

    def __init__(self, spec: DataSpec):
        super().__init__()
        self.parameter_shape = spec.shape
        pixels = math.prod(spec.shape)
        self._factors = max(n for n in range(1, FACTORS + 1) if pixels % n == 0)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|l) in nats. [K, B]

        Under forward derivatives torch's own operators compute it, since `_LogProb` has no forward rule.
        """
        x, logits = x.flatten(1), parameters.flatten(2)
        if forward_derivative_active():
            return (x * logits - functional.softplus(logits)).sum(-1)
        if not torch.is_grad_enabled():
            return _LogProb.forward(x, logits, self._factors)
        value: Tensor = _LogProb.apply(x, logits, self._factors)
        return value

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def sample(self, parameters: Tensor) -> Tensor:
        return (noise.uniform(*parameters.shape).to(parameters) < parameters.sigmoid()).to(parameters.dtype)


def _sum_over_pixels(x: Tensor, logits: Tensor, factors: int) -> Tensor:
    """`_LogProb` of one piece, as 0 - (sum of max(l, 0) - x l, and of log(1 + e^-|l|)). Memory that is in the cache is
    used again. [B, P], [K, B, P] -> [K, B]
    """
    larger = logits.clamp_min(0)
    factor = torch.sub(logits, larger, alpha=2)  # l - 2 max(l, 0) = -|l|
    alike = x.dtype == logits.dtype and x.shape == logits.shape[1:]
    in_place = alike and not transform_active()  # a transform may map x alone
    rest = larger.addcmul_(x, logits, value=-1) if in_place else torch.addcmul(larger, x, logits, value=-1)
    rest = rest.sum(-1)
    del larger
    products = torch.unflatten(factor.exp_().add_(1), -1, (-1, factors)).prod(-1)
    return 0 - products.log_().sum(-1).add(rest)


class _LogProb(torch.autograd.Function):
    """sum over pixels of x l - log(1 + e^l) = x l - max(l, 0) - log(1 + e^-|l|), in nats. [B, P], [K, B, P] -> [K, B]

    1 + e^-|l| is in [1, 2], so `factors` of them are multiplied before one logarithm is taken. (torch's own
    cross-entropy spends most of its time on logarithms.) A product has as many roundings as the sum.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, logits: Tensor, factors: int) -> Tensor:
        """Works piece by piece, so that each piece is still in the cache when it is read again."""
        samples = len(logits)
        if x.device.type == "cpu":
            samples = max(1, torch.get_num_threads() * PIECE // max(1, x.numel()))
        pieces = torch.split(logits, samples) if len(logits) > samples else [logits]
        values = [_sum_over_pixels(x, piece, factors) for piece in pieces]
        return torch.cat(values) if len(values) > 1 else values[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        """Saves x and the logits for the gradient."""
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """d log p / dl = x - sigmoid(l), d log p / dx = l."""
        x, logits = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        by_x = (grad * logits).sum_to_size(x.shape) if ctx.needs_input_grad[0] else None
        return by_x, (x - logits.sigmoid()) * grad if ctx.needs_input_grad[1] else None, None
