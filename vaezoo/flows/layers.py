"""Sequences of flows of one kind."""

from collections.abc import Callable, Sequence

from vaezoo.core.errors import VaezooError
from vaezoo.flows.autoregressive import AutoregressiveFlow
from vaezoo.flows.flow import Flow
from vaezoo.flows.sequence import FlowSequence
from vaezoo.flows.transform import ElementwiseTransform


def flow_layers(count: int, make: Callable[[int], Flow]) -> FlowSequence:
    """`count` flows one after the other, of which `make(n)` is number n, from 0.

    Raises VaezooError for a count under 1.

    Rezende and Mohamed (2015), arXiv:1505.05770.
    """
    if count < 1:
        raise VaezooError(f"the number of flows must be 1 or more, got {count}")
    return FlowSequence(*map(make, range(count)))


def autoregressive_layers(
    latent: int,
    count: int,
    transform: ElementwiseTransform | None = None,
    *,
    hidden: Sequence[int] = (64, 64),
    activation: str = "relu",
    context: int = 0,
) -> FlowSequence:
    """`count` autoregressive flows, every second one of which takes the coordinates from the last to the first.

    The identity at the start. Other arguments as those of `AutoregressiveFlow`. Raises VaezooError for a count under 1.

    Kingma et al. (2016), arXiv:1606.04934; Papamakarios et al. (2017), arXiv:1705.07057.
    """

    def make(number: int) -> Flow:
        """One layer; every other one takes the dimensions in reverse."""
        reverse = number % 2 == 1
        return AutoregressiveFlow(
            latent, transform, hidden=hidden, activation=activation, reverse=reverse, context=context
        )

    return flow_layers(count, make)
