"""The Bernoulli likelihood."""

import torch
from torch import Tensor
from torch.nn import functional

from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.torch_internals import forward_derivative_active, transform_active
from vaezoo.likelihoods._bernoulli_sums import LogProb, sums
from vaezoo.registry import register


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

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|l) in nats. [K, B]

        Under forward derivatives torch's own operators compute it, since `LogProb` has no forward rule.
        """
        x, logits = x.flatten(1).unsqueeze(0), parameters.flatten(2)
        if forward_derivative_active():
            return (x * logits - functional.softplus(logits)).sum(-1)
        needed = x.requires_grad or logits.requires_grad or transform_active()
        value, _ = LogProb.apply(x, logits) if needed and torch.is_grad_enabled() else sums(x, logits, slopes=False)
        return value

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def sample(self, parameters: Tensor) -> Tensor:
        return (noise.uniform(*parameters.shape).to(parameters) < parameters.sigmoid()).to(parameters.dtype)
