"""The masked autoregressive flow."""

from collections.abc import Sequence

from torch import Tensor

from vaezoo.flows.affine import AffineTransform
from vaezoo.flows.flow import Flow
from vaezoo.flows.transform import ElementwiseTransform
from vaezoo.nets.masked import MADE


class AutoregressiveFlow(Flow):
    """z'_i = g(z_i; params_i(z_1 .. z_{i-1}, context)), all params from one pass of a MADE.

    log_det = sum_i log dg/dz_i in nats: the Jacobian is triangular. The identity at initialisation. `forward` costs one
    pass of the net, `inverse` Z of them, one after the other.

    As it stands it is the inverse autoregressive flow (IAF) of a posterior, whose samples must be quick; the affine g
    is exp(s) z + t, where Kingma et al. gate with a sigmoid. As a prior, log p(z) = log N(forward(z)) + log_det is the
    masked autoregressive flow (MAF), whose densities are quick and whose samples take `inverse`. `InverseFlow` turns
    it around.

    latent: Z. transform: g; None is `AffineTransform()`. hidden: widths of the net. reverse: the last coordinate comes
    first; a sequence alternates it. context: C.

    Kingma et al. (2016), arXiv:1606.04934; Papamakarios et al. (2017), arXiv:1705.07057.
    """

    def __init__(
        self,
        latent: int,
        transform: ElementwiseTransform | None = None,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: str = "relu",
        reverse: bool = False,
        context: int = 0,
    ):
        super().__init__(latent, context)
        self.transform = transform or AffineTransform()
        self.net = MADE(latent, self.transform.width, hidden, context=context, activation=activation, reverse=reverse)
        self.net.zero_outputs()

    def map_forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """All dimensions at once: their parameters depend on z, which is given."""
        moved, log_derivative = self.transform.forward(z, self.net(z, context))
        return moved, log_derivative.sum(-1)

    def map_inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Dimension by dimension: the parameters of each depend on those already inverted."""
        found, log_derivative = z, z
        for _ in range(self.latent):  # each pass makes one more coordinate right, in their order
            found, log_derivative = self.transform.inverse(z, self.net(found, context))
        return found, log_derivative.sum(-1)
