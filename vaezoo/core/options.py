"""A plugin's options: values for its arguments after `*`, checked against its signature. Needs no torch."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from inspect import Parameter
from numbers import Integral, Real
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from vaezoo.core.errors import VaezooError, as_written, unknown

if TYPE_CHECKING:
    from vaezoo.registry import Plugin

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", type(None): "left out"}
_LISTS: dict[Any, type[tuple[Any, ...]] | type[list[Any]]] = {tuple: tuple, list: list, Sequence: tuple}
_CALLERS = {"dataset": "loader", "metric": "evaluation"}
"""The code that fills the arguments before `*`. Those of a part are filled by the builder."""


class _DoesNotFit(Exception):
    """A value does not have its annotated type."""


def checked_options(
    plugin: Plugin, values: Mapping[str, Any], shared: Mapping[str, Parameter] = types.MappingProxyType({})
) -> dict[str, Any]:
    """All options of a plugin: the given values, checked and converted to their annotations, and its defaults.

    The options of a part are called hyper-parameters. shared: options that every plugin of the slot has. Raises
    VaezooError for an option that is unknown, that the plugin's caller fills, that has the wrong type, or that is
    missing and has no default.
    """
    known, caller = {**shared, **plugin.hyperparameters}, _CALLERS.get(plugin.slot, "builder")
    title = f"{plugin.slot} {plugin.name!r}"
    noun = "option" if plugin.slot in _CALLERS else "hyper-parameter"
    for name in values:
        if name in plugin.builder_arguments:
            raise VaezooError(f"{title}: {name!r} is handed over by the {caller} and cannot be set here")
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
    """The value, converted to its annotation: a whole number to a float, a list to a tuple.

    A Boolean is not accepted as a number. Annotations are checked where they are classes, Literals, and unions or lists
    of these. Raises VaezooError, whose message begins with the title.

    >>> checked_type("noise", 1, float | None)
    1.0
    """
    try:
        return _fitted(value, annotation)
    except _DoesNotFit:
        origin, choices = get_origin(annotation), get_args(annotation)
    if origin is Literal and isinstance(value, str):
        names = (choice if isinstance(choice, str) else as_written(choice) for choice in choices if choice is not None)
        raise VaezooError(unknown(f"{title}: value", value, names))
    raise VaezooError(f"{title} must be {in_words(annotation)}, got {as_written(value)}")


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
            except _DoesNotFit:
                continue
    elif origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in inner):
            return value
    elif (make := _LISTS.get(kind)) is not None:
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return make(map(_fitted, value, _item_annotations(origin, inner, len(value))))
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
    raise _DoesNotFit


def _item_annotations(origin: Any, inner: tuple[Any, ...], count: int) -> Sequence[Any]:
    """The annotation of each item of a list or tuple of this many."""
    if origin is not tuple:
        return (inner or (Any,)) * count
    if inner[-1:] == (Ellipsis,):
        return inner[:1] * count
    if len(inner) != count:
        raise _DoesNotFit
    return inner


def in_words(annotation: Any) -> str:
    """An annotation in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return in_words(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(map(in_words, inner))
    if origin is Literal:
        return " or ".join(_WORDS[type(None)] if choice is None else as_written(choice) for choice in inner)
    if origin is tuple and inner[-1:] != (Ellipsis,):
        return f"a list of {len(inner)} ({', '.join(map(in_words, inner))})"
    if origin in _LISTS:
        return f"a list, each item {in_words(inner[0])}"
    if annotation in _LISTS:
        return "a list"
    return _WORDS.get(type(None) if annotation is None else annotation) or (
        annotation.__name__ if isinstance(annotation, type) and not origin else str(annotation)
    )
