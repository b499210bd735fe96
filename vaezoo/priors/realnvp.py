"""The RealNVP prior."""

from vaezoo.flows import FlowPrior, coupling_layers
from vaezoo.registry import register


@register.prior("realnvp", paper="Dinh et al. (2017), arXiv:1605.08803")
class RealNVP(FlowPrior):
    """p(z): N(0, I) pushed through affine coupling layers f, z = f(z0).

    log p(z) = log N(f^-1(z); 0, I) - sum_c sum_i s_ci in nats, with the log-scales s of each layer c. It integrates to
    1; equals the prior `normal` at the start of training, where all layers are the identity. For Z = 1, where a layer
    has nothing to condition on, the layers are one affine map, p(z) = N(z; shift, scale^2). Without the batch
    normalisation and the multiple scales of the paper, which are for images.

    couplings: number of layers, which map the two halves of z in turn. width: of the two hidden layers of each net.
    activation: theirs.
    """

    def __init__(self, latent: int, *, couplings: int = 6, width: int = 64, activation: str = "relu"):
        super().__init__(latent)
        self.flow = coupling_layers(latent, couplings, hidden=(width, width), activation=activation)
