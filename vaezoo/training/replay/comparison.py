"""The comparison of a replay with the eager run of the same step, bit for bit."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class NotReplayable(Exception):
    """A function cannot be replayed without its Python; the message is the reason."""


class ReplayDiffers(Exception):
    """Replays that have been used for training may have been wrong; the message is the reason."""


def compare(
    function: Callable[[], None],
    replay: Callable[[], None],
    tensors: Sequence[Tensor],
    generators: Sequence[torch.Generator] = (),
) -> None:
    """Replay, put everything back, and run the function.

    tensors, generators: all that the function and its replay change and keep. Raises NotReplayable, after the run,
    where the replay would not have left the same numbers in them. Where two replays differ from each other (some of a
    GPU's kernels add in any order), the bits prove nothing, and no error is raised.
    """
    state = _State(tensors, [torch.default_generator, *generators])
    before, failure = state.copied(), None
    try:
        replay()
    except Exception as error:  # an operator may reject values that are no longer those of the recorded run
        failure = f"an operation cannot be repeated: {str(error).splitlines()[0]}"
    replayed = state.copied()
    state.restore(before)
    function()
    eager = state.copied()
    if failure is not None:
        raise NotReplayable(failure)
    if _identical(eager, replayed):
        return
    state.restore(before)
    replay()
    again = state.copied()
    state.restore(eager)
    if _identical(again, replayed):
        raise NotReplayable("a replay gives other numbers: is something kept from step to step outside tensors?")


class _State:
    """The numbers of tensors and the states of generators."""

    def __init__(self, tensors: Sequence[Tensor], generators: Sequence[torch.Generator]):
        self.tensors, self.generators = tensors, generators

    def copied(self) -> list[Tensor]:
        """A copy of everything."""
        return [tensor.detach().clone() for tensor in self.tensors] + [each.get_state() for each in self.generators]

    @torch.no_grad()
    def restore(self, copies: Sequence[Tensor]) -> None:
        """Put a copy back."""
        states = copies[len(self.tensors) :]
        for tensor, old in zip(self.tensors, copies, strict=False):
            if not _equal(tensor, old):
                tensor.copy_(old)
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)


def _identical(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(_equal(*pair) for pair in zip(one, other, strict=True))


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers, bit for bit; NaN equals NaN."""
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())
