"""The masked autoregressive flow prior."""

from vaezoo.flows import FlowPrior, InverseFlow, autoregressive_layers
from vaezoo.registry import register


@register.prior("maf", paper="Papamakarios et al. (2017), arXiv:1705.07057")
class MAF(FlowPrior):
    """p(z): the law of z whose image under masked autoregressive flows f is standard normal. One flow maps
    z'_i = exp(s_i) z_i + t_i, where s_i and t_i depend on z_1 .. z_{i-1}.

    log p(z) = log N(f(z); 0, I) + sum_f sum_i s_fi in nats, over the flows. It integrates to 1; equals the prior
    `normal` at the start of training, where all flows are the identity. A density costs one pass of each net, a sample
    Z passes, one after the other. Every second flow takes the coordinates in reverse. For Z = 1 it is a Gaussian.
    Without the batch normalisation of the paper.

    flows: number of maps. width: of the two hidden layers of each net. activation: theirs. Raises VaezooError for no
    flows.
    """

    def __init__(self, latent: int, *, flows: int = 4, width: int = 64, activation: str = "relu"):
        super().__init__(latent)
        self.flow = InverseFlow(autoregressive_layers(latent, flows, hidden=(width, width), activation=activation))
