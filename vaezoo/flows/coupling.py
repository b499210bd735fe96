"""The coupling flow, and a sequence of them."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from vaezoo.core.errors import VaezooError
from vaezoo.flows.affine import AffineTransform
from vaezoo.flows.elementwise import ElementwiseFlow
from vaezoo.flows.flow import Flow
from vaezoo.flows.sequence import FlowSequence
from vaezoo.flows.transform import ElementwiseTransform
from vaezoo.nets.context import ContextStack
from vaezoo.nets.linear import Linear


class CouplingFlow(Flow):
    """Keeps one half of z and maps the other one: z'_i = g(z_i; params_i(kept half, context)).

    log_det = sum_i log dg/dz_i in nats, over the mapped half. Forward and inverse cost the same: one pass of the net.
    The identity at initialisation. A sequence alternates `swap`, so that both halves are mapped.

    latent: Z, 2 or more. transform: g; `AffineTransform()`, the default, makes RealNVP, a `SplineTransform` the neural
    spline flow. hidden: widths of the net. swap: map the first Z - Z // 2 coordinates, not the last. context: C.
    Raises VaezooError for Z = 1.

    Dinh et al. (2017), arXiv:1605.08803; Durkan et al. (2019), arXiv:1906.04032.
    """

    def __init__(
        self,
        latent: int,
        transform: ElementwiseTransform | None = None,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: str = "relu",
        swap: bool = False,
        context: int = 0,
    ):
        super().__init__(latent, context)
        if latent < 2:
            raise VaezooError(f"CouplingFlow needs latent of 2 or more, got {latent}: take ElementwiseFlow")
        self.transform = transform or AffineTransform()
        self.swap = swap
        self.kept, self.mapped = latent // 2, latent - latent // 2
        widths = [self.kept, *hidden, self.mapped * self.transform.width]
        layers = [Linear(inputs, outputs) for inputs, outputs in pairwise(widths)]
        self.net = ContextStack(layers, activation, context=context)
        self.net.zero_outputs()

    def map_forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._apply_to_half(self.transform.forward, z, context)

    def map_inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._apply_to_half(self.transform.inverse, z, context)

    def _apply_to_half(
        self, g: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], z: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        cut = self.mapped if self.swap else self.kept
        first, last = z[..., :cut], z[..., cut:]
        kept, half = (last, first) if self.swap else (first, last)
        flat: Tensor = self.net(kept, context)
        half, log_derivative = g(half, flat.view(*flat.shape[:-1], self.transform.width, self.mapped))
        return torch.cat((half, kept) if self.swap else (kept, half), -1), log_derivative.sum(-1)


def coupling_layers(
    latent: int,
    count: int,
    transform: ElementwiseTransform | None = None,
    *,
    hidden: Sequence[int] = (64, 64),
    activation: str = "relu",
    context: int = 0,
) -> Flow:
    """`count` coupling flows one after the other, which map the two halves of z in turn. The identity at the start.

    For Z = 1, where a coupling has nothing to condition on, it is a single `ElementwiseFlow`, whose params are its own
    or a linear map of the context.

    Other arguments as those of `CouplingFlow`. Raises VaezooError for a count under 1.

    Dinh et al. (2017), arXiv:1605.08803.
    """
    if count < 1:
        raise VaezooError(f"the number of coupling layers must be 1 or more, got {count}")
    if latent == 1:
        return ElementwiseFlow(latent, transform or AffineTransform(), context=context)
    make = partial(CouplingFlow, latent, transform, hidden=hidden, activation=activation, context=context)
    return FlowSequence(*(make(swap=n % 2 == 1) for n in range(count)))
