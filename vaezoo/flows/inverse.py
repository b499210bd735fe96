"""A flow turned around."""

from torch import Tensor

from vaezoo.core.errors import VaezooError
from vaezoo.flows.flow import Flow


class InverseFlow(Flow):
    """z' = f^-1(z), log_det = -log |det df/dz'| in nats; its inverse is f.

    flow: f. Raises VaezooError where it has no inverse.
    """

    def __init__(self, flow: Flow):
        if not flow.has_inverse:
            raise VaezooError(flow.inverse_missing())
        super().__init__(flow.latent, flow.context)
        self.flow = flow

    def map_forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, log_det = self.flow.inverse(z, context)
        return z, -log_det

    def map_inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, log_det = self.flow(z, context)
        return z, -log_det
