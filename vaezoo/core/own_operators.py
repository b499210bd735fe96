"""vaezoo's own operators of torch: functions on tensors that whoever watches operators sees, such as a recording."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., Any])
_LIBRARY = torch.library.Library("vaezoo", "FRAGMENT")
_FUNCTIONS: dict[Any, Callable[..., Any]] = {}


def operator(schema: str) -> Callable[[Function], Function]:
    """Makes a function the operator of this schema, for tensors on a CPU: `torch.ops.vaezoo.NAME`. The function gets
    the name too, since a replay calls it.
    """

    def made(function: Function) -> Function:
        """The operator of a function."""
        name = _LIBRARY.define(schema).removeprefix("vaezoo::")
        _LIBRARY.impl(name, function, "CPU")
        function.__name__ = name
        packet = getattr(torch.ops.vaezoo, name)
        _FUNCTIONS[packet.default] = function
        return cast(Function, packet)

    return made


def function_of(overload: Any) -> Callable[..., Any] | None:
    """The function that an operator of vaezoo's own calls for tensors on a CPU; None for any other operator."""
    return _FUNCTIONS.get(overload)


def mapped(packet: Any, function: Callable[..., Any]) -> None:
    """Have `torch.vmap` map an operator by a function of (info, axes, arguments) -> (result, axes)."""
    torch.library.register_vmap(f"vaezoo::{packet.__name__}", function, lib=_LIBRARY)
