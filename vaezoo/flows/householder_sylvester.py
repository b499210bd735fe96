"""The Householder Sylvester flow."""

from torch import Tensor

from vaezoo.core.errors import VaezooError
from vaezoo.flows.householder import reflection
from vaezoo.flows.parameters import FlowParameters
from vaezoo.flows.sylvester import SylvesterFlow


class HouseholderSylvesterFlow(SylvesterFlow):
    """A Sylvester flow with M = Z whose Q is a product of H Householder reflections. See `SylvesterFlow` for the map.

    reflections: H, 1 or more; Z of them reach every orthogonal Q. Raises VaezooError below 1.

    van den Berg et al. (2018), arXiv:1803.05649, H-SNF.
    """

    def __init__(self, latent: int, reflections: int = 8, *, context: int = 0):
        if reflections < 1:
            raise VaezooError(f"HouseholderSylvesterFlow needs 1 reflection or more, got {reflections}")
        super().__init__(latent, latent, context)
        self.reflections = reflections
        self.vectors_of = FlowParameters(reflections * latent, context)

    def basis(self, context: Tensor | None) -> Tensor:
        """The vectors v_1 .. v_H that it reflects at. [..., C] or None -> [..., H, Z]"""
        vectors: Tensor = self.vectors_of(context)
        return vectors.view(*vectors.shape[:-1], self.reflections, self.latent)

    def coordinates(self, z: Tensor, basis: Tensor) -> Tensor:
        """Q^T z, by the reflections in turn."""
        for v in basis.unbind(-2):
            z = reflection(z, v)
        return z

    def combination(self, y: Tensor, basis: Tensor) -> Tensor:
        """Q y, by the reflections in reverse."""
        for v in reversed(basis.unbind(-2)):
            y = reflection(y, v)
        return y
