"""A step as a list of operations: recorded once, replayed without the Python that made them."""

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vaezoo.core.errors import VaezooWarning
from vaezoo.training.replay.operations import Leaves, Recorder, Recording
from vaezoo.training.replay.snapshot import Unrecordable, changed, lasting

WARM_UP = 2
"""Eager calls before the recording: the optimiser's state comes to be."""
CHECKS = 2
"""Calls on which replay and eager run are compared, to the last bit, before the replays count."""


class Recorded:
    """A function of one tensor that changes tensors in place, run eagerly at first and then from its recording.

    Much of a small net's step on a CPU is spent in Python, in autograd and in the optimiser's bookkeeping. A replay is
    only the operations on tensors that the eager run made, without those whose result nobody reads. Python runs no more
    then: what changes from step to step must be a tensor, changed in place. Where a replay does not give the very
    numbers of the eager run, that is said once, as a VaezooWarning, and it runs eagerly.

    modules: those that it runs, whose parameters and buffers must be its own numbers too.
    """

    def __init__(self, function: Callable[[Tensor], None], modules: Sequence[nn.Module] = ()):
        self.function, self.modules = function, modules
        self.eager: float = WARM_UP
        self.proofs = CHECKS
        self.replay: Recording | None = None

    def __call__(self, value: Tensor) -> None:
        """Run it on this tensor, of the same shape each time."""
        if self.eager:
            self.eager -= 1
            self.function(value)
        elif self.replay is not None and not self.proofs:
            self.replay(value)
        else:
            self._prove(value)

    def _prove(self, value: Tensor) -> None:
        """Record this eager run, or compare the recording with it."""
        try:
            if self.replay is None:
                self.replay = record(self.function, value, self.modules)
            else:
                self.proofs -= 1
                compare(self.function, self.replay, value, self.modules)
        except Unrecordable as error:
            self.replay, self.eager = None, math.inf
            warnings.warn(f"the training step is not replayed but run eagerly: {error}", VaezooWarning, stacklevel=4)


def record(function: Callable[[Tensor], None], value: Tensor, modules: Sequence[nn.Module]) -> Recording:
    """Run the function on this tensor and note what it did. Raises Unrecordable, after the run."""
    before, recorder = lasting(modules), Recorder(value)
    with Leaves(recorder), recorder:
        function(value)
    if reason := recorder.refused or changed(before, lasting(modules)):
        raise Unrecordable(reason)
    return Recording(recorder)


def compare(function: Callable[[Tensor], None], replay: Recording, value: Tensor, modules: Sequence[nn.Module]) -> None:
    """Run the function on this tensor. Raises Unrecordable, after the run, where the replay would not have left the
    same numbers in all that it writes.
    """
    kept = (tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))
    tensors = [*replay.written, *kept]
    generators = [torch.default_generator, *replay.generators]
    before, numbers = [tensor.detach().clone() for tensor in tensors], [each.get_state() for each in generators]
    failure = None
    try:
        replay(value)
    except Exception as error:  # whatever an operator finds wrong with a result that is no longer what it was
        failure = f"an operation cannot be repeated: {str(error).splitlines()[0]}"
    replayed = [tensor.detach().clone() for tensor in tensors] + [each.get_state() for each in generators]
    with torch.no_grad():
        for tensor, old in zip(tensors, before, strict=True):
            if not _same(tensor, old):
                tensor.copy_(old)
    for generator, state in zip(generators, numbers, strict=True):
        generator.set_state(state)
    function(value)
    left = [*tensors, *(each.get_state() for each in generators)]
    if failure is None and all(_same(*pair) for pair in zip(left, replayed, strict=True)):
        return
    raise Unrecordable(failure or "a replay gives other numbers: is something kept from step to step outside tensors?")


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())
