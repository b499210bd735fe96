"""A step as one CUDA graph: captured after a warm-up, replayed from then on."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vaezoo.core.errors import VaezooWarning
from vaezoo.training.replay.comparison import NotReplayable, ReplayDiffers, compare

WARM_UP = 3
"""Eager calls before the capture: libraries initialise themselves and the optimiser allocates its state."""


class CudaGraphStep:
    """A function that changes device tensors in place. It runs eagerly at first and then as a CUDA graph.

    A replay is one launch, where an eager step of a small net is hundreds. No Python of the step runs then, so what
    changes from step to step must be a device tensor. Where the function cannot be captured (it waits for the device,
    or reads values), one VaezooWarning says so and it runs eagerly. state: gives all tensors that the function changes.
    """

    def __init__(
        self, function: Callable[[], None], device: torch.device, state: Callable[[], Sequence[Tensor]] = lambda: ()
    ):
        self.function, self.device, self.state = function, device, state
        self.stream = torch.cuda.Stream(device)
        self.calls, self.eager = 0, False
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Run the function, or its graph."""
        self.calls += 1
        if self.graph is not None:
            self.graph.replay()
        elif self.eager or self.calls <= WARM_UP:
            self._run_on_stream()
        else:
            self._capture()

    def checked(self) -> None:
        """Run the function; where it is captured by now, compare its graph first. Raises ReplayDiffers."""
        if self.graph is None:
            return self()
        try:
            return compare(self._run_on_stream, self.graph.replay, self.state())
        except NotReplayable as error:
            raise ReplayDiffers(str(error)) from None

    def _run_on_stream(self) -> None:
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            self.function()
        torch.cuda.current_stream(self.device).wait_stream(self.stream)

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self.stream):
                self.function()
        except Exception as error:  # a plugin may do anything that a graph cannot hold
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"the training step cannot be captured in a CUDA graph and runs eagerly: {reason}",
                VaezooWarning,
                stacklevel=4,
            )
            self.eager = True
            self._run_on_stream()
            return
        self.graph = graph
        graph.replay()
