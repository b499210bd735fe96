"""The prior that a flow makes of a standard normal."""

from torch import Tensor

from vaezoo.core.contracts import Prior
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.flows.flow import Flow
from vaezoo.flows.gaussian import TransformedGaussian


class FlowPrior(Prior):
    """p(z): N(0, I) pushed through a flow f, z = f(z0). log p(z) = log N(f^-1(z); 0, I) - log |det df/dz0| in nats.

    It integrates to 1; equals the prior `normal` while f is the identity. A subclass sets `flow` after this class's
    constructor, over Z = `latent`, with an inverse and without a context.

    Dinh et al. (2017), arXiv:1605.08803; Papamakarios et al. (2017), arXiv:1705.07057.
    """

    flow: Flow

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z: Tensor) -> Tensor:
        """log p(z) in nats. [..., Z] -> [...]"""
        return self._density(z).log_density(z)

    def sample(self, n: int) -> Tensor:
        """f of n standard normal points. [n, Z]"""
        return self._density(next(self.flow.parameters())).rsample(n)

    def _density(self, like: Tensor) -> TransformedGaussian:
        zero = like.new_zeros(self.latent)
        return TransformedGaussian(DiagonalGaussian(zero, zero), self.flow)
