"""A step as one CUDA graph: captured after a warm-up, replayed from then on."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vaezoo.core.errors import VaezooWarning
from vaezoo.training.replay.snapshot import Unrecordable, changed, lasting

WARM_UP = 3
"""Eager calls before the capture: libraries set themselves up, and the optimiser's state comes to be."""


class Captured:
    """A function of one tensor that changes device tensors in place, run eagerly at first and then as a CUDA graph.

    A replay is one launch where an eager step of a small net is hundreds. Python runs no more then: what changes from
    step to step must be a device tensor. Where the function cannot be captured (it waits for the device, or looks at
    values), or changes in Python what its modules keep, that is said once, as a VaezooWarning, and it runs eagerly.
    """

    def __init__(self, function: Callable[[Tensor], None], device: torch.device, modules: Sequence[nn.Module] = ()):
        self.function, self.device, self.modules = function, device, modules
        self.stream = torch.cuda.Stream(device)
        self.calls, self.eager = 0, False
        self.graph: torch.cuda.CUDAGraph | None = None
        self.input = torch.empty(0)

    def __call__(self, value: Tensor) -> None:
        """Run it on this tensor, of the same shape each time."""
        self.calls += 1
        if self.graph is not None:
            self.input.copy_(value)
            self.graph.replay()
        elif self.eager or self.calls <= WARM_UP:
            self._on_the_stream(value)
        else:
            self._capture(value)

    def _on_the_stream(self, value: Tensor) -> None:
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            self.function(value)
        torch.cuda.current_stream(self.device).wait_stream(self.stream)

    def _capture(self, value: Tensor) -> None:
        self.input, graph, before = value.clone(), torch.cuda.CUDAGraph(), lasting(self.modules)
        try:
            with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self.stream):
                self.function(self.input)
            if reason := changed(before, lasting(self.modules)):
                raise Unrecordable(reason)
        except Exception as error:  # whatever a plugin does that a graph cannot hold
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"the training step cannot be captured in a CUDA graph and runs eagerly: {reason}",
                VaezooWarning,
                stacklevel=4,
            )
            self.eager = True
            self._on_the_stream(value)
            return
        self.graph = graph
        graph.replay()
