"""What modules keep from step to step in Python, where neither a recording nor a CUDA graph would change it."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


class Unrecordable(Exception):
    """Why a function cannot be replayed; the message says it."""


def lasting(modules: Iterable[nn.Module]) -> dict[str, object]:
    """What a module keeps from step to step and a replay could not change: which tensors are its parameters, buffers
    and other attributes, and what plain Python values it has, also in lists and dicts.
    """
    found: dict[str, object] = {}
    for number, (name, part) in enumerate(each for module in modules for each in module.named_modules()):
        tensors = {**part._parameters, **part._buffers}
        found |= {f"{number} {name}.{key}": _kept(tensor) for key, tensor in tensors.items()}
        own = {key: value for key, value in vars(part).items() if key not in ("_parameters", "_buffers", "_modules")}
        found |= {f"{number} {type(part).__name__}.{key}": _kept(value) for key, value in own.items()}
    return found


@dataclass(eq=False)
class _Which:
    """A tensor and where its numbers lie; held, so that no other can be taken for it."""

    tensor: Tensor
    place: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Which) and self.tensor is other.tensor and self.place == other.place


def _kept(value: Any) -> object:
    if isinstance(value, Tensor):
        return _Which(value, place_of(value))
    if isinstance(value, dict):
        return [(_kept(key), _kept(inner)) for key, inner in value.items()]
    if isinstance(value, list | tuple | set | deque):
        return [_kept(inner) for inner in value]
    return repr(value) if isinstance(value, int | float | str | None) else id(value)


def changed(before: dict[str, object], after: dict[str, object]) -> str:
    """In words, what a step changed that no replay changes; "" where there is nothing."""
    names = [name.split(" ", 1)[1] for name, value in after.items() if before.get(name, value) != value]
    return f"it changes {names[0]} in Python: keep it in a buffer, changed in place" if names else ""


def place_of(tensor: Tensor) -> int:
    """Where a tensor's storage begins: views share it."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (
        RuntimeError,
        NotImplementedError,
    ):  # a sparse one, or the zero that torch takes for no derivative, has none
        return id(tensor)
