"""Monotone maps of single coordinates, whose parameters a flow computes."""

from abc import ABC, abstractmethod

from torch import Tensor


class ElementwiseTransform(ABC):
    """A strictly increasing map y = g(x; params) of each coordinate alone. Coordinates differ by their params.

    The identity where params = 0. `CouplingFlow`, `AutoregressiveFlow` and `ElementwiseFlow` compute the params, which
    may be any real numbers. They are [..., width, Z], so that the parameters of one kind lie side by side; they are
    broadcast against x [..., Z], and taken in its dtype: a net in bfloat16 costs the log-determinant no precision.
    width: how many numbers a coordinate has.
    """

    width: int

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """y and log dy/dx in nats. [..., Z], [..., width, Z] -> [..., Z], [..., Z]"""

    @abstractmethod
    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """x and log dy/dx there, of the forward map. [..., Z], [..., width, Z] -> [..., Z], [..., Z]"""


def softclip(x: Tensor, bound: float) -> Tensor:
    """x / (1 + |x| / bound): x near 0, and between -bound and bound for every x, with a gradient that never vanishes.
    [...] -> [...]
    """
    return x / (1 + x.abs() / bound)
