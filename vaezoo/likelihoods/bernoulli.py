"""The Bernoulli likelihood."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.torch_internals import forward_derivative_active
from vaezoo.registry import register

FACTORS = 112
"""The most numbers of [0.5, 1] that are multiplied at once in float32, whose smallest normal number is 2^-126."""
PIECE = 2**17
"""The most logits that a CPU works on at once: their intermediate results stay in its second-level cache."""


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
        value: Tensor = _LogProb.apply(x, logits, self._factors)
        return value

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def sample(self, parameters: Tensor) -> Tensor:
        return (noise.uniform(*parameters.shape).to(parameters) < parameters.sigmoid()).to(parameters.dtype)


class _LogProb(torch.autograd.Function):
    """sum over pixels of x l - log(1 + e^l) = x l - max(l, 0) + log sigmoid(|l|), in nats. [B, P], [K, B, P] -> [K, B]

    sigmoid(|l|) is in [0.5, 1], so the sigmoids of `factors` pixels are multiplied before one logarithm is taken.
    (torch's own cross-entropy spends most of its time on logarithms.) A product has as many roundings as the sum.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, logits: Tensor, factors: int) -> Tensor:
        """Works piece by piece, so that each piece is still in the cache when it is read again."""
        samples = max(1, PIECE // max(1, x.numel())) if x.device.type == "cpu" else len(logits)
        values = []
        for piece in torch.split(logits, samples) if len(logits) > samples else [logits]:
            value = (x * piece).sub_(piece.clamp_min(0)).sum(-1)
            products = torch.unflatten(piece.abs().sigmoid_(), -1, (-1, factors)).prod(-1)
            values.append(value.add_(products.log_().sum(-1)))
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
