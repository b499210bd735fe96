"""The Householder-flow posterior."""

from vaezoo.flows import FlowPosterior, HouseholderFlow, flow_layers
from vaezoo.registry import register


@register.posterior("householder", paper="Tomczak and Welling (2016), arXiv:1611.09630")
class Householder(FlowPosterior):
    """q(z|x): a diagonal Gaussian reflected at planes, which makes a Gaussian with a full covariance.

    z = H z0 with H = H_T .. H_1 and H_t = I - 2 v_t v_t' / |v_t|^2, so that

        q(z|x) = N(z; H mean(x), H diag(std(x)^2) H'),   log q(z|x) = log N(z0; mean(x), std(x)) in nats.

    The features give each v_t by a linear map of its own; in the paper v_t is a linear map of v_{t-1}, and v_1 of the
    features. Given points are scored, by the reflections in reverse. Equals the posterior `gaussian` where each
    reflection is applied twice.

    reflections: T; Z of them reach every orthogonal H. [B, *features] -> a TransformedGaussian over [B, Z]. Raises
    VaezooError for no reflections.
    """

    def __init__(self, features: tuple[int, ...], latent: int, *, reflections: int = 8):
        super().__init__(features, latent)
        self.flow = flow_layers(reflections, lambda _: HouseholderFlow(latent, context=self.width))
