"""The inverse autoregressive flow posterior."""

from vaezoo.flows import FlowPosterior, autoregressive_layers
from vaezoo.registry import register


@register.posterior("iaf", paper="Kingma et al. (2016), arXiv:1606.04934")
class IAF(FlowPosterior):
    """q(z|x): a diagonal Gaussian pushed through inverse autoregressive flows z'_i = exp(s_i) z_i + t_i, where s_i and
    t_i depend on z_1 .. z_{i-1} and on the features.

    log q(z|x) = log N(z0; mean(x), std(x)) - sum_f sum_i s_fi in nats, over the flows f. Samples and their densities
    cost one pass of each net, given points Z passes, one after the other. Equals the posterior `gaussian` at the start
    of training, where all flows are the identity. Every second flow takes the coordinates in reverse. The log-scale
    takes the place of the paper's sigmoid gate.

    flows: number of maps. width: of the two hidden layers of each net. activation: theirs. [B, *features] -> a
    TransformedGaussian over [B, Z]. Raises VaezooError for no flows.
    """

    def __init__(
        self,
        features: tuple[int, ...],
        latent: int,
        *,
        flows: int = 4,
        width: int = 64,
        activation: str = "relu",
    ):
        super().__init__(features, latent)
        nets = (width, width)
        self.flow = autoregressive_layers(latent, flows, hidden=nets, activation=activation, context=self.width)
