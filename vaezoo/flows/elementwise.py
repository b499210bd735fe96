"""A transform of each coordinate alone."""

from torch import Tensor

from vaezoo.flows.flow import Flow
from vaezoo.flows.parameters import FlowParameters
from vaezoo.flows.transform import ElementwiseTransform


class ElementwiseFlow(Flow):
    """z'_i = g(z_i; params_i), each coordinate by a map of its own. log_det = sum_i log dg/dz_i in nats.

    The identity at initialisation. transform: g, an `AffineTransform` or a `SplineTransform`.
    latent: Z. context: C, the width of a context that the params depend on; 0 where they are the flow's own.

    Durkan et al. (2019), arXiv:1906.04032.
    """

    def __init__(self, latent: int, transform: ElementwiseTransform, *, context: int = 0):
        super().__init__(latent, context)
        self.transform = transform
        self.parameters_of = FlowParameters(latent * transform.width, context, std=0.0)

    def map_forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, log_derivative = self.transform.forward(z, self._params(context))
        return z, log_derivative.sum(-1)

    def map_inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, log_derivative = self.transform.inverse(z, self._params(context))
        return z, log_derivative.sum(-1)

    def _params(self, context: Tensor | None) -> Tensor:
        flat: Tensor = self.parameters_of(context)
        return flat.view(*flat.shape[:-1], self.transform.width, self.latent)
