"""The ELBO with the path derivative: sticking the landing."""

from torch import Tensor

from vaezoo.core.draws import Draws
from vaezoo.objectives.elbo import ELBO
from vaezoo.registry import register


@register.objective("stl", paper="Roeder et al. (2017), arXiv:1703.09194")
class StickingTheLanding(ELBO):
    """E_q[log p(x|z) + w (log p(z) - log q(z|x))] of each image, in which log q has a gradient through z alone. [B]

    What is left out, the derivative of log q(z|x) by its own weights at a fixed z, has the mean 0. So the mean gradient
    is the ELBO's, and where q is the posterior each draw's gradient by encoder and posterior is exactly 0. w is the
    weight of the KL warm-up, 1 after it. Raises Skip where q can score only its own samples.

    importance_samples: the draws of z that are averaged for each image.
    """

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        ratio = (draws.log_prior - draws.log_posterior_stopped).sum(0)
        return (draws.log_likelihood + draws.kl_weight * ratio).mean(0)
