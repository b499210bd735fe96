"""What every flow is: an invertible map with the logarithm of its Jacobian determinant."""

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from vaezoo.core.errors import VaezooError
from vaezoo.nets.context import check_context


class Flow(nn.Module, ABC):
    """An invertible map z' = f(z; context) of R^Z to itself, with log |det dz'/dz| in nats.

    As a posterior: z ~ q0, log q(z') = log q0(z) - log_det. As a prior: log p(z) = log N(f(z); 0, I) + log_det.
    Rezende and Mohamed (2015), arXiv:1505.05770.

    A subclass writes `map_forward`, and `map_inverse` where it has an inverse. Both are pure functions of tensors, so
    that they can be mapped over seeds and replayed. Shapes are checked here, before them.

    latent: Z. context: C, the width of the contexts that it takes; 0 for none, and then what is given as context is
    ignored. A context [B, C] is broadcast against z [K, B, Z].
    """

    def __init__(self, latent: int, context: int = 0):
        super().__init__()
        if latent < 1 or context < 0:
            raise VaezooError(
                f"{type(self).__name__} needs latent of 1 or more and context of 0 or more, got {latent} and {context}"
            )
        self.latent, self.context = latent, context

    @property
    def has_inverse(self) -> bool:
        """Whether `inverse` can be called."""
        return type(self).map_inverse is not Flow.map_inverse

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z' = f(z) and log |det dz'/dz| in nats. z [..., Z], context [..., C] or None -> [..., Z], [...]

        Raises VaezooError for a z or a context of another width.
        """
        return self.map_forward(*self._checked(z, context))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The point that f maps to z, and the log-determinant of f there: of the forward map, not of its inverse.
        z [..., Z], context [..., C] or None -> [..., Z], [...]

        `inverse(*forward(z)[:1])` is (z, log_det of `forward(z)`). Raises VaezooError where there is no inverse.
        """
        if not self.has_inverse:
            raise VaezooError(self.inverse_missing())
        return self.map_inverse(*self._checked(z, context))

    @abstractmethod
    def map_forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """What `forward` gives, for checked shapes; z has all leading axes of the context."""

    def map_inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """What `inverse` gives, for checked shapes; z has all leading axes of the context."""
        raise NotImplementedError

    def inverse_missing(self) -> str:
        """The error, in one line, for a caller who needs the inverse of a flow that has none."""
        return (
            f"{type(self).__name__} has no inverse in closed form: score its own samples only, or take a flow whose "
            "has_inverse is True (coupling, autoregressive)"
        )

    def _checked(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """z with the leading axes of the context, and the context, None where the flow takes none."""
        if z.shape[-1:] != (self.latent,):
            raise VaezooError(f"{type(self).__name__} maps z [..., {self.latent}], got {list(z.shape)}")
        if not self.context:
            return z, None
        check_context(context, self.context, self)
        context = cast(Tensor, context)
        leading = torch.broadcast_shapes(z.shape[:-1], context.shape[:-1])
        return (z if leading == z.shape[:-1] else z.expand(*leading, self.latent)), context
