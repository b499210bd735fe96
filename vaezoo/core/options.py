"""What a plugin may be told: values for the arguments after `*`, checked against its signature. Needs no torch."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from inspect import Parameter
from numbers import Integral, Real
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from vaezoo.core.errors import VaezooError, unknown

if TYPE_CHECKING:
    from vaezoo.registry import Plugin

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", type(None): "None"}
_LISTS: dict[Any, type[tuple] | type[list]] = {tuple: tuple, list: list, Sequence: tuple}
_GIVERS = {"dataset": "loader", "metric": "evaluation"}
"""Who hands over the arguments before `*`; of a part it is the builder."""


class _Unfit(Exception):
    """A value that is not of its annotation."""


def checked_options(plugin: Plugin, values: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a plugin: the values given, checked and made what its annotations want, over its defaults.

    The options of a part are called hyper-parameters. Raises VaezooError for one that is unknown, handed over by who
    calls the plugin, of the wrong type, or missing where there is no default.
    """
    known, giver = plugin.hyperparameters, _GIVERS.get(plugin.slot, "builder")
    title = f"{plugin.slot} {plugin.name!r}"
    noun = "option" if plugin.slot in _GIVERS else "hyper-parameter"
    for name in values:
        if name in plugin.builder_arguments:
            raise VaezooError(f"{title}: {name!r} is handed over by the {giver} and cannot be set here")
        if name not in known:
            raise VaezooError(f"{title}: {unknown(noun, name, known)}")
    full: dict[str, Any] = {}
    for name, parameter in known.items():
        if name in values:
            full[name] = checked_type(f"{title}: {noun} {name!r}", values[name], parameter.annotation)
        elif parameter.default is Parameter.empty:
            raise VaezooError(f"{title}: {noun} {name!r} has no default and must be given")
        else:
            full[name] = parameter.default
    return full


def checked_type(title: str, value: Any, annotation: Any) -> Any:
    """The value as its annotation wants it: a float from a whole number, a tuple from a list.

    true is no number. What is no class, Literal, union or list of such is not checked. Raises VaezooError, which begins
    with the title.

    >>> checked_type("noise", 1, float | None)
    1.0
    """
    try:
        return _fitted(value, annotation)
    except _Unfit:
        origin, choices = get_origin(annotation), get_args(annotation)
    if origin is Literal and isinstance(value, str):
        raise VaezooError(unknown(f"{title}: value", value, map(str, choices)))
    raise VaezooError(f"{title} must be {_wanted(annotation)}, got {value!r}")


def _fitted(value: Any, annotation: Any) -> Any:
    origin, inner = get_origin(annotation), get_args(annotation)
    kind = origin or annotation
    if annotation is Parameter.empty or annotation is Any:
        return value
    if origin is Annotated:
        return _fitted(value, inner[0])
    if origin in (Union, types.UnionType):
        exact = [option for option in inner if option is type(value)]
        for option in (*exact, *inner):
            try:
                return _fitted(value, option)
            except _Unfit:
                continue
    elif origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in inner):
            return value
    elif (made := _LISTS.get(kind)) is not None:
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return made(map(_fitted, value, _of_items(origin, inner, len(value))))
    elif isinstance(value, bool) and kind in (int, float):
        pass
    elif kind is int and isinstance(value, Integral):
        return int(value)
    elif kind is float and isinstance(value, Real):
        return float(value)
    elif kind is None:
        if value is None:
            return None
    elif not isinstance(kind, type) or isinstance(value, kind):
        return value
    raise _Unfit


def _of_items(origin: Any, inner: tuple[Any, ...], count: int) -> Sequence[Any]:
    """The annotation of each item of a list or tuple of this many."""
    if origin is not tuple:
        return (inner or (Any,)) * count
    if inner[-1:] == (Ellipsis,):
        return inner[:1] * count
    if len(inner) != count:
        raise _Unfit
    return inner


def _wanted(annotation: Any) -> str:
    """An annotation in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _wanted(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(map(_wanted, inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is tuple and inner[-1:] != (Ellipsis,):
        return f"a list of {len(inner)} ({', '.join(map(_wanted, inner))})"
    if origin in _LISTS:
        return f"a list (of each item {_wanted(inner[0])})"
    if annotation in _LISTS:
        return "a list"
    return _WORDS.get(annotation) or (
        annotation.__name__ if isinstance(annotation, type) and not origin else str(annotation)
    )
