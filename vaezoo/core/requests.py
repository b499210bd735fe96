"""How a method gets what it names: as with pytest's fixtures, the name of an argument is the request.

A plugin's method lists its own arguments first (`z`, `x`, `n`, ...); what it names after them, LatentModel hands over
at each call. So no part stores another part, and a deep copy or a mapped copy of a model is whole.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Concatenate, TypeVar

Part = TypeVar("Part")
Own = TypeVar("Own")
Out = TypeVar("Out")

SERVED = ("encode", "prior", "x", "context", "index", "log_joint", "groups", "parts")
"""What can be asked: `encode` (x -> q(z|x)), `prior`, `x` [N, *shape], `context`, `index` [B], `log_joint` (z -> log
p(x, z) [K, B]),
`groups` (the tuple of all latents), `parts` (the whole mapping, to hand on)."""


@lru_cache(maxsize=1024)
def _names(function: Callable[..., Any], own: int, method: bool) -> tuple[tuple[str, bool], ...]:
    parameters = list(inspect.signature(function).parameters.values())[own + method :]
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple((p.name, p.default is p.empty) for p in parameters if p.kind not in kinds)


def asked(method: Callable[..., Any], own: int) -> tuple[tuple[str, bool], ...]:
    """(name, whether it must be served) of each argument of a method after its `own` first ones."""
    function = getattr(method, "__func__", None)
    return _names(method, own, False) if function is None else _names(function, own, True)


def call(
    method: Callable[..., Any], *own: Any, parts: Mapping[str, Any], entry: Callable[..., Any] | None = None
) -> Any:
    """Call a method with its own arguments and with those of `parts` that it names.

    entry: what to call where that is not the method whose names count (a module's `__call__` for its `forward`).
    """
    names = asked(method, len(own))
    if not names:
        return (entry or method)(*own)
    served = {name: parts if name == "parts" else parts[name] for name, _ in names if name == "parts" or name in parts}
    return (entry or method)(*own, **served)


def may_request(method: Callable[Concatenate[Part, Own, ...], Out]) -> Callable[Concatenate[Part, Own, ...], Out]:
    """Mark a method whose overrides may name further parts after its own arguments.

    It changes nothing at run time. Type checkers see the arguments after the first as open, so that
    `log_density(self, z, encode)` is a legal override of `log_density(self, z)`.
    """
    return method
