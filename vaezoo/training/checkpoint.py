"""Checkpoints of a training: when its state is written to a file, and how an interrupted training goes on from it."""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from vaezoo.core.errors import VaezooWarning
from vaezoo.training.seed_run import SeedRun
from vaezoo.training.snapshot import changed_attribute, state_snapshot
from vaezoo.training.state import (
    Place,
    SavedState,
    Unusable,
    current_state,
    list_of,
    restore,
    restore_trained,
    trained_state,
)
from vaezoo.training.step import TrainingStep

FORMAT = 1
"""The format of the file and the meaning of what it holds. A file of another one is not used."""
CHECKPOINT_SECONDS = 300.0
FACTS = "facts"
"""The tensor that holds the facts of a state, as the bytes of JSON."""
MOST_BESIDE_MODELS = 2**28
"""Bytes of a file beside those that the models account for. A larger file is not read."""


class Interrupted(Exception):
    """A stop was requested; the message says how far the cell had come."""


class CheckpointClock:
    """Says when a training writes its checkpoint: every so many seconds, and at once where a stop is requested.

    is_polled: whether the work that is under way looks at the clock itself, so that nothing else need break it off.
    """

    def __init__(self, seconds: float = CHECKPOINT_SECONDS):
        self.seconds, self.stop_requested, self.is_polled = seconds, False, False
        self.restart()

    def request_stop(self) -> None:
        """End the training at its next step, with a checkpoint. A signal handler may call this."""
        self.stop_requested = True

    def restart(self) -> None:
        """Count the seconds from now."""
        self._started = time.monotonic()

    @contextmanager
    def polled(self) -> Iterator[None]:
        """Within the block, the work looks at the clock itself."""
        before, self.is_polled = self.is_polled, True
        try:
            yield
        finally:
            self.is_polled = before

    def is_due(self) -> bool:
        """Whether a checkpoint is to be written."""
        return self.stop_requested or time.monotonic() - self._started >= self.seconds


class StateFile(Protocol):
    """A file that holds the state of a training."""

    def read(self, most: int) -> bytes | None:
        """The content, or None where there is no file. Raises Unusable where it is no regular file of at most `most`
        bytes, or cannot be read.
        """

    def write(self, content: bytes) -> None:
        """Write the content atomically. Raises OSError where that is impossible."""


@dataclass
class Checkpoint:
    """The checkpoint of one training, of a cell or of a pack.

    files: one for each seed; the first holds the state of the training, and after it each holds its own seed's trained
    state. keys: of the cells, in the same order. seeds: trained together; those of the file, once training goes on from
    one. device: its type. warned: the warnings of the cell, which are saved too. resumed: how often the training has
    been taken up from a file. again: the warning of a training that began again eagerly.

    A file is used only where all of it is unharmed, and where format, keys, version of torch and type of the device are
    the same. Else training begins anew, and a VaezooWarning says why.
    """

    files: Sequence[StateFile]
    keys: Sequence[str]
    seeds: Sequence[int]
    device: str
    clock: CheckpointClock = field(default_factory=CheckpointClock)
    warned: list[str] = field(default_factory=list)
    resumed: int = 0
    again: str | None = None

    def __post_init__(self) -> None:
        self.clock.restart()
        self._began = time.monotonic()
        self._saved: list[SavedState] = []
        self._has_file = False
        self._modules: Sequence[nn.Module] = ()
        self._attributes: dict[str, object] = {}

    def open(self, modules: Sequence[nn.Module]) -> None:
        """Read the files of an interrupted training of these modules, where there are any."""
        sizes = [t.numel() * t.element_size() for module in modules for t in (*module.parameters(), *module.buffers())]
        most = 8 * sum(sizes) + MOST_BESIDE_MODELS
        try:
            saved = self._read(0, most)
            if saved is None:
                return
            self._saved = [saved]
            for place in range(1, len(self.files) if saved.is_trained else 1):
                if (other := self._read(place, most)) is None or not other.is_trained:
                    raise Unusable("the trained state of another seed of the pack is missing")
                self._saved.append(other)
        except Unusable as error:
            self._refuse(error)
        else:
            self._has_file, self.again = True, saved.facts["again"]

    def _read(self, place: int, most: int) -> SavedState | None:
        content = self.files[place].read(most)
        if content is None:
            return None
        saved = decoded(content)
        keys = [self.keys[place]] if saved.is_trained else list(self.keys)
        for name, expected in self._origin(keys).items():
            if saved.facts.get(name) != expected:
                raise Unusable(f"its {name} is another one")
        _check_common(saved.facts)
        return saved

    def _origin(self, keys: Sequence[str]) -> dict[str, Any]:
        """What must be the same where a training goes on."""
        return {"format": FORMAT, "keys": list(keys), "torch": str(torch.__version__), "device": self.device}

    def restore_trained(self, runs: Sequence[SeedRun]) -> bool:
        """Restore the runs of a training that had ended; whether there was one."""
        if not (self._saved and self._saved[0].is_trained):
            return False
        saved, self._saved = self._saved, []
        try:
            restore_trained(saved, runs)
        except Unusable as error:
            self._refuse(error)
            return False
        for state in saved:
            self._adopt(state)
        return True

    def restore(self, step: TrainingStep, runs: Sequence[SeedRun]) -> Place:
        """Restore a training, and say where it goes on: at its beginning where there is no usable file."""
        self._modules, self._attributes = step.modules, _attributes(step.modules)
        saved, self._saved = self._saved, []
        if not saved:
            return Place()
        try:
            place = restore(saved[0], step, runs)
        except Unusable as error:
            self._refuse(error)
            return Place()
        self._adopt(saved[0])
        return place

    def keep(self, step: TrainingStep, runs: Sequence[SeedRun], epoch: int, seconds: float) -> None:
        """Write the state between two steps. Raises Interrupted where a stop is requested."""
        failure = self._write(0, lambda: current_state(step, runs, epoch, seconds), self.keys)
        self._told(f"stopped in epoch {epoch}", "goes on from there", failure)
        self.clock.restart()

    def keep_trained(self, runs: Sequence[SeedRun]) -> None:
        """Write the trained state of each seed, where training took long. Raises Interrupted where a stop is requested.

        That of a pack is always written: without the seeds that have their records by the time of a kill, the others
        could be trained again only up to rounding. The first seed's replaces the state of the training, so it comes
        last.
        """
        failure, trained_here = None, len(self._modules) > 0
        long = self._has_file or time.monotonic() - self._began >= self.clock.seconds
        if trained_here and (long or len(runs) > 1 or self.clock.stop_requested):
            for place, run in reversed(list(enumerate(runs))):
                failure = self._write(place, partial(trained_state, run), [self.keys[place]]) or failure
        self._told("stopped after training", "goes on with the evaluation", failure)

    def _told(self, stopped: str, goes_on: str, failure: str | None) -> None:
        """Warn of a checkpoint that was not written. Raises Interrupted where a stop is requested."""
        lost = f"no checkpoint was written: {failure}"
        if self.clock.stop_requested:
            raise Interrupted(f"{stopped}; {lost if failure else f'the same command {goes_on}'}")
        if failure:
            warnings.warn(lost, stacklevel=3)

    def _write(self, place: int, state: Callable[[], SavedState], keys: Sequence[str]) -> str | None:
        """Write a state; why it could not be written, or None."""
        if name := changed_attribute(self._attributes, _attributes(self._modules)):
            return f"training changes {name!r}, which is no parameter or buffer"
        facts = {"seeds": list(self.seeds), "warnings": self.warned, "resumed": self.resumed, "again": self.again}
        try:
            self.files[place].write(encoded(replace(made := state(), facts=self._origin(keys) | facts | made.facts)))
        except Exception as error:  # a full disk or memory, or a tensor that safetensors cannot hold
            return (str(error).strip() or type(error).__name__).splitlines()[0]
        self._has_file = True
        return None

    def _adopt(self, saved: SavedState) -> None:
        """Take over what a file says of the training beside its state."""
        self.resumed, self.seeds = saved.facts["resumed"] + 1, saved.facts["seeds"]
        self.warned.extend(text for text in saved.facts["warnings"] if text not in self.warned)

    def _refuse(self, reason: Unusable) -> None:
        self._saved = []
        warnings.warn(f"a checkpoint is not used, and training begins anew: {reason}", VaezooWarning, stacklevel=3)


def encoded(state: SavedState) -> bytes:
    """A state as bytes: the sha256 of the rest in hexadecimal, a line end, and safetensors with the facts as JSON."""
    text = bytearray(json.dumps(state.facts).encode())
    content = save({**state.tensors, FACTS: torch.frombuffer(text, dtype=torch.uint8)})
    return _digest(content) + content


def decoded(content: bytes) -> SavedState:
    """The state that `encoded` wrote. Raises Unusable for anything else."""
    length = len(_digest(b""))
    if _digest(content[length:]) != content[:length]:
        raise Unusable("it is damaged")
    try:
        tensors = load(content[length:])
        facts = json.loads(_bytes(tensors.pop(FACTS)))
    except Exception:  # whatever a file that somebody made by hand may cause
        raise Unusable("it is damaged") from None
    if type(facts) is not dict:
        raise Unusable("it is damaged")
    return SavedState(tensors, facts)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b"\n"


def _bytes(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()


def _check_common(facts: dict[str, Any]) -> None:
    """Check the types of what each state holds beside itself. Raises Unusable."""
    again, resumed = facts.get("again"), facts.get("resumed")
    list_of(facts, "warnings", str)
    list_of(facts, "seeds", int)
    if type(resumed) is not int or resumed < 0 or not (again is None or type(again) is str):
        raise Unusable("it does not say how often it was resumed")


def _attributes(modules: Sequence[nn.Module]) -> dict[str, object]:
    """The state of modules besides the numbers of their tensors, which a checkpoint does not hold."""
    found = state_snapshot(modules)
    return {name: value for name, value in found.items() if not name.endswith((" training", ".training"))}
