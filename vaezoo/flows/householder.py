"""The Householder flow."""

from torch import Tensor

from vaezoo.flows.flow import Flow
from vaezoo.flows.parameters import FlowParameters


class HouseholderFlow(Flow):
    """z' = z - 2 v (v . z) / |v|^2: reflects points at the plane orthogonal to v. Its own inverse; log_det = 0.

    A volume-preserving map: Z of them in a `FlowSequence` reach every rotation, which turns a diagonal Gaussian
    posterior into one with full covariance.

    latent: Z. context: C, the width of a context that v depends on; 0 where it is the flow's own.

    Tomczak and Welling (2016), arXiv:1611.09630.
    """

    def __init__(self, latent: int, *, context: int = 0):
        super().__init__(latent, context)
        self.parameters_of = FlowParameters(latent, context)

    def map_forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return reflection(z, self.parameters_of(context)), z.new_zeros(z.shape[:-1])

    def map_inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.map_forward(z, context)


def reflection(z: Tensor, v: Tensor) -> Tensor:
    """z - 2 v (v . z) / |v|^2. [..., Z], [..., Z] -> [..., Z]; applied twice it is z."""
    return z - (2 * (v * z).sum(-1, keepdim=True) / v.square().sum(-1, keepdim=True)) * v
