"""The RealNVP prior."""

from torch import Tensor

from vaezoo.core.contracts import Prior
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.flows import TransformedGaussian, coupling_layers
from vaezoo.registry import register


@register.prior("realnvp", paper="Dinh et al. (2017), arXiv:1605.08803")
class RealNVP(Prior):
    """p(z): N(0, I) pushed through affine coupling layers f, z = f(z0).

    log p(z) = log N(f^-1(z); 0, I) - sum_c sum_i s_ci in nats, with the log-scales s of each layer c. It integrates to
    1; equals the prior `normal` at the start of training, where all layers are the identity. For Z = 1, where a layer
    has nothing to condition on, the layers are one affine map, p(z) = N(z; shift, scale^2). Without the batch
    normalisation and the multiple scales of the paper, which are for images.

    couplings: number of layers, which map the two halves of z in turn. width: of the two hidden layers of each net.
    activation: theirs.
    """

    def __init__(self, latent: int, *, couplings: int = 6, width: int = 64, activation: str = "relu"):
        super().__init__()
        self.latent = latent
        self.flow = coupling_layers(latent, couplings, hidden=(width, width), activation=activation)

    def log_density(self, z: Tensor) -> Tensor:
        return self._density(z).log_density(z)

    def sample(self, n: int) -> Tensor:
        """f of n standard normal points. [n, Z]"""
        return self._density(next(self.flow.parameters())).rsample(n)

    def _density(self, like: Tensor) -> TransformedGaussian:
        zero = like.new_zeros(self.latent)
        return TransformedGaussian(DiagonalGaussian(zero, zero), self.flow)
