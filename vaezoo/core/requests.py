"""Serving the arguments that a part's methods name: as with pytest's fixtures, an argument's name is the request.

A plugin's method lists its own arguments first (`z`, `x`, `n`, ...). LatentModel hands over the arguments named after
them at each call. So no part stores another part, and a deep copy or a mapped copy of a model is complete.

SERVICES is the one table of what which method may request. The model, the planner, `vaezoo show`, `vaezoo check` and
the documentation read it.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Concatenate, TypeVar

from vaezoo.core.errors import Skip, VaezooError

Part = TypeVar("Part")
Own = TypeVar("Own")
Out = TypeVar("Out")

MEANINGS = {
    "encode": "images [N, *shape] (and their context [N, C]) -> q(z|x)",
    "prior": "the prior, a module",
    "log_joint": "z, a tuple of [K, B, Z_l] -> log p(x, z) in nats [K, B]",
    "groups": "all latents, a tuple of [N, Z_l], top first",
    "z": "the samples, a tuple of [K, B, Z_l]",
    "x": "the images [B, *shape], of a decoder [N, *shape]",
    "context": "the vector of each image [B, C], of a decoder [N, C]",
    "index": "which training image each one is, int64 [B], of a decoder [N]; -1 outside the training split",
    "progress": "how far training has come, a scalar tensor in 0..1; 1 outside training",
}
"""What each name that a method may request stands for."""


@dataclass(frozen=True)
class Service:
    """A method that may request: how many arguments of its own it has, and the names it may request after them."""

    own: int
    names: tuple[str, ...]


_PRIOR = ("encode", "context", "index", "progress")
SERVICES: Mapping[tuple[str, str], Service] = {
    ("encoder", "forward"): Service(1, ("context", "index", "progress")),
    ("posterior", "forward"): Service(1, ("x", "prior", "log_joint", "context", "index", "progress")),
    ("prior", "log_density"): Service(1, _PRIOR),
    ("prior", "log_prob"): Service(1, _PRIOR),
    ("prior", "kl"): Service(1, ("z", *_PRIOR)),
    ("prior", "sample"): Service(1, ("encode", "context", "progress")),
    ("decoder", "forward"): Service(1, ("groups", "x", "context", "index", "progress")),
    ("likelihood", "log_prob"): Service(2, ("context", "progress")),
    ("likelihood", "mean"): Service(1, ("context",)),
    ("likelihood", "sample"): Service(1, ("context",)),
    ("objective", "forward"): Service(1, ()),
}
"""(slot, method) -> what it may request. A decoder is served `x` where it declares `autoregressive = True`."""


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


def requests_of(slot: str, part: Any) -> dict[str, tuple[tuple[str, bool], ...]]:
    """Method -> (name, whether it must be served) of all that a part, or a class of parts, requests.

    Raises VaezooError for a name that this method cannot be served, with the names that it can be.
    """
    found, of_class = {}, isinstance(part, type)
    title = f"{slot} {(part if of_class else type(part)).__name__}"
    for (home, name), service in SERVICES.items():
        method = getattr(part, name, None) if home == slot else None
        if method is None:
            continue
        found[name] = requested_arguments(method, service.own + of_class)
        for asked, required in found[name]:
            if asked == "x" and slot == "decoder" and not (of_class or getattr(part, "autoregressive", False)):
                raise VaezooError(
                    f"{title}: forward requests 'x', which only a decoder that declares autoregressive = True is served"
                )
            if asked not in service.names and required:
                known = f"it can request {', '.join(sorted(service.names))}" if service.names else _NOTHING[slot]
                raise VaezooError(f"{title}: {name} requests {asked!r}, which it is not served; {known}")
    return found


def skip_without_context(slot: str, part: type, title: str) -> None:
    """Skip where a class of parts requests the images' context. Called for images that have none, also before the part
    is built, so that its constructor may count on `spec.context`.

    title: what the message calls the part.
    """
    for name, requested in requests_of(slot, part).items():
        if ("context", True) in requested:
            raise Skip(
                f"{title} requests context in {name}, and these images have none; take a data set with a context, such "
                'as digits-binary with context = "labels"'
            )


_NOTHING = {"objective": "an objective gets the draws alone (draws.model and draws.batch hold the rest)"}


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
    return (entry or method)(*own, **served)


def may_request(method: Callable[Concatenate[Part, Own, ...], Out]) -> Callable[Concatenate[Part, Own, ...], Out]:
    """Mark a method whose overrides may name further parts after its own arguments.

    It changes nothing at run time. Type checkers see the arguments after the first as open, so that
    `log_density(self, z, encode)` is a legal override of `log_density(self, z)`.
    """
    return method
