"""The neural spline posterior."""

from vaezoo.flows import FlowPosterior, SplineTransform, coupling_layers
from vaezoo.registry import register


@register.posterior("spline", paper="Durkan et al. (2019), arXiv:1906.04032")
class Spline(FlowPosterior):
    """q(z|x): a diagonal Gaussian pushed through coupling layers of monotone rational-quadratic splines, whose nets
    also see the features.

    log q(z|x) = log N(z0; mean(x), std(x)) - sum_c sum_i log dg_ci/dz in nats, with the splines g of each layer c. They
    map [-bound, bound] to itself and are the identity outside. The inverse costs as much as the map, so given points
    are scored too. Equals the posterior `gaussian` where the knots lie on the identity with derivatives 1, as they do
    at the start of training. For Z = 1, where a layer has nothing to condition on, the layers are one spline whose
    knots depend on the features. Without the paper's linear maps between the layers: the halves of z alternate.

    couplings: number of layers. bins: of each spline. bound: in units of the latent. width: of the two hidden layers of
    each net. activation: theirs. [B, *features] -> a TransformedGaussian over [B, Z]
    """

    def __init__(
        self,
        features: tuple[int, ...],
        latent: int,
        *,
        couplings: int = 4,
        bins: int = 8,
        bound: float = 5.0,
        width: int = 64,
        activation: str = "relu",
    ):
        super().__init__(features, latent)
        splines, nets = SplineTransform(bins, bound=bound), (width, width)
        self.flow = coupling_layers(latent, couplings, splines, hidden=nets, activation=activation, context=self.width)
