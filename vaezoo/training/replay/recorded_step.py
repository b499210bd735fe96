"""A step that is recorded once and then replayed without the Python that made it."""

import math
import warnings
from collections.abc import Callable, Sequence

from torch import nn

from vaezoo.core.errors import VaezooWarning
from vaezoo.training.replay.comparison import NotReplayable, ReplayDiffers, compare
from vaezoo.training.replay.recording import Recording, record

WARM_UP = 2
"""Eager calls before the recording: the optimiser allocates its state."""
COMPARISONS = 2
"""Calls on which replay and eager run are compared bit for bit before replays take over."""


class RecordedStep:
    """A function that changes tensors in place. It runs eagerly at first and then from its recording.

    A small net's step on a CPU spends much of its time in Python, in autograd and in the optimiser's bookkeeping. A
    replay runs only the operators of the eager run, without unused ones. No Python of the step runs then, so what
    changes from step to step must be a tensor that is changed in place. Where a replay does not give the very numbers
    of the eager run, one VaezooWarning says so and the step runs eagerly from then on.

    modules: those that the function runs. Their parameters and buffers are compared too.
    """

    def __init__(self, function: Callable[[], None], modules: Sequence[nn.Module] = ()):
        self.function, self.modules = function, modules
        self.eager_calls: float = WARM_UP
        self.comparisons = COMPARISONS
        self.recording: Recording | None = None

    def __call__(self) -> None:
        """Run the function, or its recording."""
        if self.eager_calls:
            self.eager_calls -= 1
            self.function()
        elif self.recording is not None and not self.comparisons:
            self.recording()
        else:
            self._record_or_compare()

    def checked(self) -> None:
        """Run the function; where it is replayed by now, compare its replay first. Raises ReplayDiffers."""
        if self.recording is None or self.comparisons:
            return self()
        try:
            return self._compare(self.recording)
        except NotReplayable as error:
            raise ReplayDiffers(str(error)) from None

    def _record_or_compare(self) -> None:
        """Run the function eagerly, and record it or compare the recording with it."""
        try:
            if self.recording is None:
                self.recording = record(self.function)
            else:
                self.comparisons -= 1
                self._compare(self.recording)
        except NotReplayable as error:
            self.recording, self.eager_calls = None, math.inf
            warnings.warn(f"the training step is not replayed but run eagerly: {error}", VaezooWarning, stacklevel=4)

    def _compare(self, recording: Recording) -> None:
        kept = (tensor for module in self.modules for tensor in (*module.parameters(), *module.buffers()))
        compare(self.function, recording, [*recording.written, *kept], recording.generators)
