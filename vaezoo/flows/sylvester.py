"""What the Sylvester flows share."""

from abc import abstractmethod

import torch
from torch import Tensor

from vaezoo.flows.flow import Flow
from vaezoo.flows.parameters import FlowParameters


class SylvesterFlow(Flow):
    """z' = z + Q R tanh(S Q^T z + b): a planar flow of M units at once, where Q has M orthonormal columns.

    R and S are upper triangular [M, M], so that log_det = sum_i log(1 + (1 - tanh_i^2) R_ii S_ii) in nats. The
    diagonals are tanh of free numbers, so that R_ii S_ii > -1 and the map is invertible, though not in closed form:
    `has_inverse` is False.

    A subclass gives Q: `basis` of the context, `coordinates` Q^T z and `combination` Q y.
    latent: Z. columns: M. context: C, the width of a context that Q, R, S and b depend on, or 0.

    van den Berg et al. (2018), arXiv:1803.05649, where S is R with a tilde.
    """

    def __init__(self, latent: int, columns: int, context: int):
        super().__init__(latent, context)
        self.columns = columns
        self.parameters_of = FlowParameters(columns * (columns + 3), context, std=0.1)

    @abstractmethod
    def basis(self, context: Tensor | None) -> Tensor:
        """The numbers that determine Q, for `coordinates` and `combination`. [..., C] or None -> [..., any shape]"""

    @abstractmethod
    def coordinates(self, z: Tensor, basis: Tensor) -> Tensor:
        """Q^T z. [..., Z] -> [..., M]; `coordinates(combination(y))` is y"""

    @abstractmethod
    def combination(self, y: Tensor, basis: Tensor) -> Tensor:
        """Q y. [..., M] -> [..., Z]"""

    def map_forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """z + Q R h(R~ Q^T z + b) and its log-determinant, the product of a diagonal."""
        size = self.columns
        off_diagonal, diagonals, b = self.parameters_of(context).split((size * size, 2 * size, size), -1)
        off_diagonal = off_diagonal.view(*off_diagonal.shape[:-1], size, size)  # R above the diagonal, S^T below it
        r, s = diagonals.tanh().chunk(2, -1)
        basis = self.basis(context)
        y = self.coordinates(z, basis)
        moved = (s * y + torch.einsum("...nm,...n->...m", off_diagonal.tril(-1), y) + b).tanh()
        step = r * moved + torch.einsum("...mn,...n->...m", off_diagonal.triu(1), moved)
        log_det = ((1 - moved.square()) * (r * s)).log1p().sum(-1)
        return z + self.combination(step, basis), log_det
