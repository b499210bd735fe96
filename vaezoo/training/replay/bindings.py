"""The fastest Python function that calls one operator."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vaezoo.core.own_operators import function_of
from vaezoo.core.torch_internals import intercepted_operators, operator_schema

BUILT_IN = (type(torch.mm), type(Tensor.view))
"""The types of torch's functions and methods that are written in C++."""


def python_binding(operator: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """torch's function or method of an operator's name, where it calls that operator alone with the very same
    arguments; what an operator of vaezoo's own calls; else the operator itself.

    Python calls such a function faster than the operator. It is tried out here; an operator that changes a tensor in
    place is not run then.
    """
    if (own := function_of(operator)) is not None:
        return own
    plain: Callable[..., Any] = operator
    schema = operator_schema(operator)
    name, in_place = schema.name.removeprefix("aten::"), schema.is_mutable
    if in_place and not (name.endswith("_") and len(schema.returns) == 1):
        return plain
    function = getattr(torch, name, None) or getattr(Tensor, name, None)
    if not isinstance(function, BUILT_IN):
        return plain
    calls: list[tuple[Any, ...]] = []

    def note(called: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Note a call and make it; one that changes a tensor in place gives that tensor."""
        calls.append((called, args, kwargs))
        return args[0] if in_place else called(*args, **kwargs)

    interception = intercepted_operators(note)
    if interception is None:
        return plain
    with interception:
        try:
            function(*args, **kwargs)
        except (RuntimeError, TypeError, ValueError):
            return plain
    return function if _same_arguments(calls, [(operator, args, kwargs)]) else plain


def _same_arguments(one: Any, other: Any) -> bool:
    """Whether nested arguments are the same: tensors by identity, everything else by type and value."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same_arguments, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same_arguments(one[key], other[key]) for key in one)
    return one is other or (type(one) is type(other) and not isinstance(one, Tensor) and one == other)
