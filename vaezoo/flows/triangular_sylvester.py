"""The triangular Sylvester flow."""

from torch import Tensor

from vaezoo.flows.sylvester import SylvesterFlow


class TriangularSylvesterFlow(SylvesterFlow):
    """A Sylvester flow with M = Z whose Q is the identity, or the reversal of the coordinates with `reverse`.

    A sequence alternates the two, so that each coordinate comes to depend on all. See `SylvesterFlow` for the map.

    van den Berg et al. (2018), arXiv:1803.05649, T-SNF.
    """

    def __init__(self, latent: int, *, reverse: bool = False, context: int = 0):
        super().__init__(latent, latent, context)
        self.reverse = reverse

    def basis(self, context: Tensor | None) -> Tensor:
        """Not needed: Q is fixed."""
        return self.parameters_of.own

    def coordinates(self, z: Tensor, basis: Tensor) -> Tensor:
        return z.flip(-1) if self.reverse else z

    def combination(self, y: Tensor, basis: Tensor) -> Tensor:
        return y.flip(-1) if self.reverse else y
