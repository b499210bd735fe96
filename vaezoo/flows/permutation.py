"""The permutation of coordinates."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaezoo.core.errors import VaezooError
from vaezoo.flows.flow import Flow


class PermutationFlow(Flow):
    """z'_i = z_{order_i}. log_det = 0.

    order: a permutation of 0 .. Z - 1; "reversed" is Z - 1 .. 0, "random" one that is drawn by torch's global generator
    as weights are. It is saved with the weights. Raises VaezooError for anything else.

    Dinh et al. (2015), arXiv:1410.8516; random ones: Durkan et al. (2019), arXiv:1906.04032.
    """

    order: Tensor

    def __init__(self, latent: int, order: Sequence[int] | str = "reversed"):
        super().__init__(latent)
        if order == "reversed":
            numbers = torch.arange(latent).flip(0)
        elif order == "random":
            numbers = torch.randperm(latent)
        elif isinstance(order, str) or sorted(order) != list(range(latent)):
            raise VaezooError(
                f"PermutationFlow needs 'reversed', 'random' or a permutation of 0 .. {latent - 1}, got {order!r}"
            )
        else:
            numbers = torch.tensor(order)
        self.register_buffer("order", numbers)

    def map_forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z[..., self.order], z.new_zeros(z.shape[:-1])

    def map_inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z[..., self.order.argsort()], z.new_zeros(z.shape[:-1])
