"""Monotone maps of single numbers, whose parameters a flow computes."""

from abc import ABC, abstractmethod

from torch import Tensor


class ElementwiseTransform(ABC):
    """A strictly increasing map y = g(x; params) of one number, the same for all coordinates but for the parameters.

    The identity where params = 0. `CouplingFlow`, `AutoregressiveFlow` and `ElementwiseFlow` compute the params, which
    may be any real numbers. width: how many there are for each coordinate.
    """

    width: int

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """y and log dy/dx in nats. [...], [..., width] -> [...], [...]; params are broadcast"""

    @abstractmethod
    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """x and log dy/dx there, of the forward map. [...], [..., width] -> [...], [...]; params are broadcast"""


def softclip(x: Tensor, bound: float) -> Tensor:
    """x / (1 + |x| / bound): x near 0, and between -bound and bound for every x, with a gradient that never vanishes.
    [...] -> [...]
    """
    return x / (1 + x.abs() / bound)
