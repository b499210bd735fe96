"""The state of modules besides the numbers of their tensors, which `update` and `refit` must not change.

A replay, a pack and a checkpoint hold tensors only. So an attribute that one of these methods assigns would be lost.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


def state_snapshot(modules: Iterable[nn.Module]) -> dict[str, object]:
    """The state of modules besides their tensors' numbers: which tensors are their parameters, buffers and other
    attributes, and their plain Python values, also those in lists and dicts.
    """
    found: dict[str, object] = {}
    for number, (name, part) in enumerate(each for module in modules for each in module.named_modules()):
        tensors = {**part._parameters, **part._buffers}
        title = f"{name}." if name else ""
        found |= {f"{number} {title}{key}": _comparable(tensor) for key, tensor in tensors.items()}
        attributes = {k: value for k, value in vars(part).items() if k not in ("_parameters", "_buffers", "_modules")}
        found |= {f"{number} {title}{key}": _comparable(value) for key, value in attributes.items()}
    return found


def changed_attribute(before: dict[str, object], after: dict[str, object]) -> str | None:
    """The name of the first attribute that differs between two snapshots of the same modules, or None."""
    names = [*after, *(name for name in before if name not in after)]
    differing = (name.split(" ", 1)[1] for name in names if name not in before or before[name] != after.get(name))
    return next(differing, None)


@dataclass(eq=False)
class _TensorIdentity:
    """A tensor and the address of its numbers. It holds the tensor, so that no new tensor gets the same identity."""

    tensor: Tensor
    address: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _TensorIdentity) and self.tensor is other.tensor and self.address == other.address


def _comparable(value: Any) -> object:
    """A stand-in for an attribute's value, which differs where the attribute changes."""
    if isinstance(value, Tensor):
        return _TensorIdentity(value, storage_address(value))
    if isinstance(value, dict):
        return [(_comparable(key), _comparable(inner)) for key, inner in value.items()]
    if isinstance(value, list | tuple | set | deque):
        return [_comparable(inner) for inner in value]
    return repr(value) if isinstance(value, int | float | str | None) else id(value)


def storage_address(tensor: Tensor) -> int:
    """The address at which a tensor's storage begins; views share it. A tensor without storage gets its identity."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # a sparse tensor, or torch's zero in place of a missing derivative
        return id(tensor)
