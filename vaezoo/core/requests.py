"""Serving the arguments that a part's methods name: as with pytest's fixtures, an argument's name is the request.

A plugin's method lists its own arguments first (`z`, `x`, `n`, ...). LatentModel hands over the arguments named after
them at each call. So no part stores another part, and a deep copy or a mapped copy of a model is complete.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Concatenate, TypeVar

Part = TypeVar("Part")
Own = TypeVar("Own")
Out = TypeVar("Out")

SERVABLE = ("encode", "prior", "x", "context", "index", "log_joint", "groups", "parts")
"""The names that a method may request: `encode` (x -> q(z|x)), `prior`, `x` [N, *shape], `context`, `index` [B],
`log_joint` (z -> log p(x, z) [K, B]), `groups` (the tuple of all latents), `parts` (the whole mapping of these, to hand
on).
"""


@lru_cache(maxsize=1024)
def _arguments_after(function: Callable[..., Any], count: int) -> tuple[tuple[str, bool], ...]:
    """(name, whether it lacks a default) of each argument of a function after its first ones."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = list(inspect.signature(function).parameters.values())[count:]
    return tuple((p.name, p.default is p.empty) for p in parameters if p.kind not in variadic)


def requested_arguments(method: Callable[..., Any], own: int) -> tuple[tuple[str, bool], ...]:
    """(name, whether it must be served) of each argument of a method after its `own` first ones, `self` apart."""
    function = getattr(method, "__func__", None)
    return _arguments_after(method, own) if function is None else _arguments_after(function, own + 1)


def call_with_requests(
    method: Callable[..., Any], *own: Any, parts: Mapping[str, Any], entry: Callable[..., Any] | None = None
) -> Any:
    """Call a method with its own arguments and with those of `parts` that it requests.

    entry: the callable to call where it is not the method whose signature counts (a module's `__call__` for its
    `forward`).
    """
    requested = requested_arguments(method, len(own))
    if not requested:
        return (entry or method)(*own)
    served = {name: parts[name] for name, _ in requested if name in parts}
    if any(name == "parts" for name, _ in requested):
        served["parts"] = parts
    return (entry or method)(*own, **served)


def may_request(method: Callable[Concatenate[Part, Own, ...], Out]) -> Callable[Concatenate[Part, Own, ...], Out]:
    """Mark a method whose overrides may name further parts after its own arguments.

    It changes nothing at run time. Type checkers see the arguments after the first as open, so that
    `log_density(self, z, encode)` is a legal override of `log_density(self, z)`.
    """
    return method
