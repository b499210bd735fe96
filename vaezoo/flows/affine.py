"""The affine map of each coordinate."""

from torch import Tensor

from vaezoo.core.errors import VaezooError
from vaezoo.flows.transform import ElementwiseTransform, softclip


class AffineTransform(ElementwiseTransform):
    """y = exp(s) x + t, where params are (t, a) and s = a / (1 + |a| / bound). log dy/dx = s in nats.

    bound: s lies between -bound and bound, so that no a overflows; positive.

    Dinh et al. (2017), arXiv:1605.08803; Papamakarios et al. (2017), arXiv:1705.07057.
    """

    width = 2

    def __init__(self, bound: float = 5.0):
        if not bound > 0:
            raise VaezooError(f"AffineTransform needs a positive bound of its log-scale, got {bound}")
        self.bound = bound

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """y = exp(log_scale) x + shift and log |dy/dx|, element by element. x [..., Z] -> both [..., Z]"""
        shift, log_scale = self._parts(params, x)
        y = x * log_scale.exp() + shift
        return y, log_scale.expand_as(y)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """x = (y - shift) exp(-log_scale) and log |dy/dx| there. y [..., Z] -> both [..., Z]"""
        shift, log_scale = self._parts(params, y)
        x = (y - shift) * (-log_scale).exp()
        return x, log_scale.expand_as(x)

    def _parts(self, params: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.to(like.dtype).unbind(-2)
        return shift, softclip(raw, self.bound)
