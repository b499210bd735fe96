"""Flows one after the other."""

from typing import cast

from torch import Tensor, nn

from vaezoo.core.errors import VaezooError
from vaezoo.flows.flow import Flow


class FlowSequence(Flow):
    """z' = f_n(... f_1(z)). log_det is the sum of those of the parts, in nats.

    Every part that takes a context is given the same one. It has an inverse where all parts have one.

    flows: one or more, of one latent size and one width of context (0 aside). Raises VaezooError for others.

    Rezende and Mohamed (2015), arXiv:1505.05770.
    """

    def __init__(self, *flows: Flow):
        latents = sorted({flow.latent for flow in flows})
        contexts = sorted({flow.context for flow in flows} - {0})
        if len(latents) != 1 or len(contexts) > 1:
            raise VaezooError(
                f"FlowSequence needs flows of one latent size and one context, got latent {latents} and "
                f"context {contexts}"
            )
        super().__init__(latents[0], *contexts)
        self.flows = nn.ModuleList(flows)

    @property
    def parts(self) -> list[Flow]:
        """The flows, in the order of `forward`."""
        return [cast(Flow, flow) for flow in self.flows]

    @property
    def has_inverse(self) -> bool:
        return all(flow.has_inverse for flow in self.parts)

    def inverse_missing(self) -> str:
        return next(flow for flow in self.parts if not flow.has_inverse).inverse_missing()

    def map_forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each flow in turn; their log-determinants add up."""
        total = None
        for flow in self.parts:
            z, log_det = flow(z, context)
            total = log_det if total is None else total + log_det
        return z, cast(Tensor, total)

    def map_inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each flow inverted in reverse; their log-determinants add up."""
        total = None
        for flow in reversed(self.parts):
            z, log_det = flow.inverse(z, context)
            total = log_det if total is None else total + log_det
        return z, cast(Tensor, total)
