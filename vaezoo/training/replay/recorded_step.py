"""A step that is recorded once and then replayed without the Python that made it."""

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vaezoo.core.errors import VaezooWarning
from vaezoo.training.replay.recording import Recording, record
from vaezoo.training.replay.snapshot import NotReplayable, python_change, state_snapshot

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

    def _record_or_compare(self) -> None:
        """Run the function eagerly, and record it or compare the recording with it."""
        try:
            if self.recording is None:
                self.recording = self._recorded()
            else:
                self.comparisons -= 1
                compare(self.function, self.recording, self.modules)
        except NotReplayable as error:
            self.recording, self.eager_calls = None, math.inf
            warnings.warn(f"the training step is not replayed but run eagerly: {error}", VaezooWarning, stacklevel=4)

    def _recorded(self) -> Recording:
        before = state_snapshot(self.modules)
        recording = record(self.function)
        if reason := python_change(before, state_snapshot(self.modules)):
            raise NotReplayable(reason)
        return recording


def compare(function: Callable[[], None], recording: Recording, modules: Sequence[nn.Module]) -> None:
    """Replay, put everything back, and run the function.

    Raises NotReplayable, after the run, where the replay would not have left the same numbers in all that it writes and
    in the modules' parameters and buffers.
    """
    kept = (tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))
    tensors = [*recording.written, *kept]
    generators = [torch.default_generator, *recording.generators]
    before, states = [tensor.detach().clone() for tensor in tensors], [each.get_state() for each in generators]
    failure = None
    try:
        recording()
    except Exception as error:  # an operator may reject values that are no longer those of the recorded run
        failure = f"an operation cannot be repeated: {str(error).splitlines()[0]}"
    replayed = [tensor.detach().clone() for tensor in tensors] + [each.get_state() for each in generators]
    with torch.no_grad():
        for tensor, old in zip(tensors, before, strict=True):
            if not _identical(tensor, old):
                tensor.copy_(old)
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    function()
    left = [*tensors, *(each.get_state() for each in generators)]
    if failure is None and all(_identical(*pair) for pair in zip(left, replayed, strict=True)):
        return
    raise NotReplayable(failure or "a replay gives other numbers: is something kept from step to step outside tensors?")


def _identical(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers, bit for bit; NaN equals NaN."""
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())
