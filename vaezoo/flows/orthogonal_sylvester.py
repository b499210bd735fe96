"""The orthogonal Sylvester flow."""

import torch
from torch import Tensor

from vaezoo.core.errors import VaezooError
from vaezoo.flows.parameters import FlowParameters
from vaezoo.flows.sylvester import SylvesterFlow


class OrthogonalSylvesterFlow(SylvesterFlow):
    """A Sylvester flow whose Q is the orthonormal factor of a QR decomposition of a free matrix [Z, M].

    The paper iterates Björck and Bowie's (1971) orthogonalisation until it converges; the decomposition is exact after
    a fixed amount of work. See `SylvesterFlow` for the map.

    columns: M, from 1 to Z; None is Z. Raises VaezooError for another M.

    van den Berg et al. (2018), arXiv:1803.05649, O-SNF.
    """

    def __init__(self, latent: int, columns: int | None = None, *, context: int = 0):
        columns = latent if columns is None else columns
        if not 1 <= columns <= latent:
            raise VaezooError(f"OrthogonalSylvesterFlow needs columns from 1 to latent = {latent}, got {columns}")
        super().__init__(latent, columns, context)
        self.matrix_of = FlowParameters(latent * columns, context)

    def basis(self, context: Tensor | None) -> Tensor:
        """Q itself. [..., C] or None -> [..., Z, M]"""
        matrix = self.matrix_of(context)
        basis: Tensor = torch.linalg.qr(matrix.view(*matrix.shape[:-1], self.latent, self.columns)).Q
        return basis

    def coordinates(self, z: Tensor, basis: Tensor) -> Tensor:
        return torch.einsum("...zm,...z->...m", basis, z)

    def combination(self, y: Tensor, basis: Tensor) -> Tensor:
        return torch.einsum("...zm,...m->...z", basis, y)
