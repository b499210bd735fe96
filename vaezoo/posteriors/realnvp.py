"""The RealNVP posterior."""

from vaezoo.flows import FlowPosterior, coupling_layers
from vaezoo.registry import register


@register.posterior(
    "realnvp", paper="Dinh et al. (2017), arXiv:1605.08803; Rezende and Mohamed (2015), arXiv:1505.05770"
)
class RealNVP(FlowPosterior):
    """q(z|x): a diagonal Gaussian pushed through affine coupling layers whose nets also see the features.

    log q(z|x) = log N(z0; mean(x), std(x)) - sum_c sum_i s_ci in nats, with the log-scales s of each layer c. The
    inverse costs as much as the map, so given points are scored too. Equals the posterior `gaussian` at the start of
    training, where all layers are the identity. For Z = 1, where a layer has nothing to condition on, the layers are
    one affine map of z whose scale and shift depend on the features. Without the batch normalisation and the multiple
    scales of the paper, which are for images.

    couplings: number of layers, which map the two halves of z in turn. width: of the two hidden layers of each net.
    activation: theirs. [B, *features] -> a TransformedGaussian over [B, Z]
    """

    def __init__(
        self,
        features: tuple[int, ...],
        latent: int,
        *,
        couplings: int = 4,
        width: int = 64,
        activation: str = "relu",
    ):
        super().__init__(features, latent)
        nets = (width, width)
        self.flow = coupling_layers(latent, couplings, hidden=nets, activation=activation, context=self.width)
