"""The planar-flow posterior."""

from vaezoo.flows import FlowPosterior, PlanarFlow, flow_layers
from vaezoo.registry import register


@register.posterior(
    "planar", paper="Rezende and Mohamed (2015), arXiv:1505.05770; van den Berg et al. (2018), arXiv:1803.05649"
)
class Planar(FlowPosterior):
    """q(z|x): a diagonal Gaussian pushed through planar flows z' = z + u tanh(w . z + b), with w . u > -1.

    log q(z|x) = log N(z0; mean(x), std(x)) - sum_f log(1 + (1 - tanh_f^2) w_f . u_f) in nats, over the flows f. The
    features give w, u and b of each flow, so that each image has a map of its own. The maps are invertible, though not
    in closed form: only its own samples are scored, and `log_prob` of given points is None. Equals the posterior
    `gaussian` where u = 0, and the posterior `sylvester` whose Q is one column.

    flows: number of maps. [B, *features] -> a TransformedGaussian over [B, Z]. Raises VaezooError for no flows.
    """

    def __init__(self, features: tuple[int, ...], latent: int, *, flows: int = 16):
        super().__init__(features, latent)
        self.flow = flow_layers(flows, lambda _: PlanarFlow(latent, context=self.width))
