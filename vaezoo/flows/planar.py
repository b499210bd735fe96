"""The planar flow."""

from torch import Tensor
from torch.nn import functional as F

from vaezoo.flows.flow import Flow
from vaezoo.flows.parameters import FlowParameters


class PlanarFlow(Flow):
    """z' = z + u tanh(w . z + b): moves points along u, by how far they are from the plane w . z + b = 0.

    log_det = log(1 + (1 - tanh^2) w . u) in nats. u = v + (m(w . v) - w . v) w / |w|^2 with m(x) = softplus(x) - 1
    keeps w . u above -1, which makes the map invertible, though not in closed form: `has_inverse` is False.

    latent: Z. context: C, the width of a context that w, v and b depend on; 0 where they are the flow's own.
    A Sylvester flow with M = 1 has the same form.

    Rezende and Mohamed (2015), arXiv:1505.05770, appendix A.1; amortised: van den Berg et al. (2018), arXiv:1803.05649.
    """

    def __init__(self, latent: int, *, context: int = 0):
        super().__init__(latent, context)
        self.parameters_of = FlowParameters(2 * latent + 1, context, std=latent**-0.5)

    def map_forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """z + u h(w z + b) and log |1 + h' w u|."""
        w, v, b = self.parameters_of(context).split((self.latent, self.latent, 1), -1)
        along = (w * v).sum(-1, keepdim=True)
        w_dot_u = F.softplus(along) - 1
        u = v + (w_dot_u - along) * w / w.square().sum(-1, keepdim=True)
        moved = ((w * z).sum(-1, keepdim=True) + b).tanh()
        log_det = ((1 - moved.square()) * w_dot_u).log1p()
        return z + u * moved, log_det.squeeze(-1)
