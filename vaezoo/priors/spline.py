"""The neural spline prior."""

from vaezoo.flows import FlowPrior, SplineTransform, coupling_layers
from vaezoo.registry import register


@register.prior("spline", paper="Durkan et al. (2019), arXiv:1906.04032")
class Spline(FlowPrior):
    """p(z): N(0, I) pushed through coupling layers f of monotone rational-quadratic splines, z = f(z0).

    log p(z) = log N(f^-1(z); 0, I) - sum_c sum_i log dg_ci/dz0 in nats, with the splines g of each layer c. They map
    [-bound, bound] to itself and are the identity outside. It integrates to 1; equals the prior `normal` where the
    knots lie on the identity with derivatives 1, as they do at the start of training. For Z = 1, where a layer has
    nothing to condition on, the layers are one spline. Without the paper's linear maps between the layers: the halves
    of z alternate.

    couplings: number of layers. bins: of each spline. bound: in units of the latent. width: of the two hidden layers of
    each net. activation: theirs.
    """

    def __init__(
        self,
        latent: int,
        *,
        couplings: int = 6,
        bins: int = 8,
        bound: float = 5.0,
        width: int = 64,
        activation: str = "relu",
    ):
        super().__init__(latent)
        splines, nets = SplineTransform(bins, bound=bound), (width, width)
        self.flow = coupling_layers(latent, couplings, splines, hidden=nets, activation=activation)
