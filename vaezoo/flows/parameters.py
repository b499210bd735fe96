"""The numbers that a flow's formula takes: its own, or a map of the context."""

import torch
from torch import Tensor, nn

from vaezoo.nets.linear import Linear


class FlowParameters(nn.Module):
    """Numbers of a flow: own + W context, or the flow's own alone. context [..., C] or None -> [..., width]

    With a context they are amortised: each image has its own map (van den Berg et al. 2018, arXiv:1803.05649).

    width: how many. context: C, or 0 for the flow's own alone. std: the standard deviation of its own numbers at
    initialisation; W starts at a tenth of a dense layer's weights, times std, so that images start with similar maps.
    """

    def __init__(self, width: int, context: int = 0, *, std: float = 1.0):
        super().__init__()
        self.own = nn.Parameter(std * torch.randn(width))
        self.from_context = Linear(context, width, bias=False) if context else None
        if self.from_context is not None:
            with torch.no_grad():
                self.from_context.weight.mul_(0.1 * std)

    def forward(self, context: Tensor | None) -> Tensor:
        """The map's parameters: its own, or for each context own + W context. [..., C] -> [..., width]"""
        if self.from_context is None:
            return self.own
        total: Tensor = self.own + self.from_context(context)
        return total
