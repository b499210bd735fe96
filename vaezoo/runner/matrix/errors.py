"""Translates pydantic's errors into lines: `variants[2].train.epochs: expected a whole number >= 1, got -1`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from vaezoo.core.errors import as_written, nearest

Loc = tuple[str | int, ...]
"""The place of a value: keys, and indices in lists from 0."""
Problem = tuple[Loc, str]

SECTIONS = ("model", "train", "evaluate")
"""The tables that stand at the top for all rows, and in each [[variants]] for that one."""
ARRAYS = ("variants", "references")
MISSING = {
    "datasets": 'name at least one above the first [table]: datasets = ["mnist-dynamic"]',
    "variants": "write one [[variants]] table for each row",
    "variants.name": "every [[variants]] names a registered variant",
}
WORDS = {int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
BOUNDS = {"gt": ">", "ge": ">="}


class Problems(ValueError):
    """Several errors below one place: for each its path from that place, and its text."""

    def __init__(self, found: list[Problem]) -> None:
        super().__init__(found)
        self.found = found


def line(loc: Loc, text: str) -> str:
    """One error with its path: `variants[2].train.epochs: expected ...`. Indices in the path start from 1."""
    path = _path(loc)
    return f"{path}{' ' if text.startswith('is not a key') else ': '}{text}" if path else text


def _path(loc: Loc) -> str:
    return "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def expected(words: str, value: object, advice: str = "") -> str:
    """`expected ..., got ...; what to do`."""
    return f"expected {words}, got {_got(value)}{'; ' if advice else ''}{advice}"


def _got(value: object) -> str:
    """A value in the words of TOML, a table or a list by its kind alone."""
    if isinstance(value, (Mapping, list)):
        return f"a{'' if value else 'n empty'} {'table' if isinstance(value, Mapping) else 'list'}"
    return as_written(value)


def as_list(value: object) -> str:
    """`write [3]` for a single value where a list is expected; nothing for a table or a list."""
    return f"write [{json.dumps(value)}]" if isinstance(value, (str, int, float)) else ""


def problems(
    errors: Iterable[Mapping[str, Any]], root: Any, keys: Mapping[str, Iterable[str]], start: Loc = ()
) -> list[Problem]:
    """pydantic's errors (`ValidationError.errors()`) in our words; the errors of a union's options become one.

    root: the model that was validated, and start: its place in the file. keys: the keys of each table, "" for the top,
    which say where an unknown key belongs.
    """
    found: list[Problem] = []
    for error in errors:
        loc, value, cause = error["loc"], error["input"], error.get("ctx", {}).get("error")
        if isinstance(cause, Problems):
            found += [((*loc, *inner), text) for inner, text in cause.found]
        elif cause is not None:
            found.append((loc, str(cause)))
        elif error["type"] == "extra_forbidden":
            found.append((loc, _unknown_key((*start, *loc), keys)))
        elif error["type"] == "missing":
            path = ".".join(part for part in loc if isinstance(part, str))
            found.append((loc, f"is missing; {MISSING.get(path, 'add it')}"))
        elif error["type"] == "too_short":
            found.append((loc, expected("at least one", value)))
        else:
            loc, annotation = _annotation(root, loc)
            words = _described(annotation)
            if error["type"] == "finite_number" or (error["type"] == "float_type" and type(value) is int):  # 10**400
                words = words.replace("number", "finite number")
            found.append((loc, expected(words, value, _advice(loc, words, annotation, value))))
    return list(dict.fromkeys(found))


def _annotation(root: Any, loc: Loc) -> tuple[Loc, Any]:
    """The annotation at a place below a model, and the place itself.

    Where pydantic fails in a union, its place ends with the name of one of the options. The place returned does not.
    """
    annotation = root
    for depth, part in enumerate(loc):
        kind = _without_limits(annotation)
        if options := _union_options(kind):
            if len(options) > 1:
                return loc[:depth], annotation
            kind = _without_limits(options[0])
        if get_origin(kind) is list:
            annotation = get_args(kind)[0]
        else:
            field = kind.model_fields[part]
            annotation = Annotated[field.annotation, field, *field.metadata]
    return loc, annotation


def _without_limits(annotation: Any) -> Any:
    """An annotation without its limits: int for Annotated[int, Ge(1)]."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _union_options(kind: Any) -> list[Any]:
    """The options of a union, without None; none for any other type."""
    return [each for each in get_args(kind) if each is not NoneType] if get_origin(kind) in (Union, UnionType) else []


def _described(annotation: Any) -> str:
    """An annotation in words: its description, or `a whole number >= 1` for Annotated[int, Ge(1)]."""
    kind, limits = _without_limits(annotation), get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    if described := [limit.description for limit in limits if getattr(limit, "description", None)]:
        return str(described[0])
    if options := _union_options(kind):
        return " or ".join(map(_described, options))
    if get_origin(kind) is Literal:
        names = get_args(kind)
        return f"one of {', '.join(names)}" if len(names) > 1 else json.dumps(names[0])
    bounds = [f" {BOUNDS[key]} {getattr(limit, key):g}" for limit in limits for key in BOUNDS if hasattr(limit, key)]
    return WORDS.get(get_origin(kind) or kind, getattr(kind, "words", "a table")) + "".join(bounds)


def _advice(loc: Loc, words: str, annotation: Any, value: Any) -> str:
    """What to write instead of a value that does not fit, or nothing."""
    if loc == ("name",):
        better = re.sub(r"[^a-z0-9._-]+", "-", str(value).lower()).strip("._-") if isinstance(value, str) else ""
        return f'write name = "{better or "my-matrix"}" above the first [table]'
    number = isinstance(value, str) and re.fullmatch(r"\s*[+-]?[\d_.]+([eE][+-]?\d+)?\s*", value)
    if number and ("number" in words or "count" in words):
        return "write it without the quotes"
    if isinstance(value, str) and words.startswith("one of "):
        near = get_close_matches(value, get_args(_without_limits(annotation)), n=1)
        return f"did you mean {near[0]!r}?" if near else ""
    if loc[-1] in ARRAYS and isinstance(value, Mapping):
        return f"write [[{loc[-1]}]], in two pairs of brackets"
    if loc[-1] in SECTIONS and isinstance(value, list):
        return f"write [{loc[-1]}], in one pair of brackets"
    return as_list(value) if "a list" in words and not isinstance(value, bool) else ""


def _unknown_key(loc: Loc, keys: Mapping[str, Iterable[str]]) -> str:
    """Where an unknown key belongs, or the keys of its table that are near."""
    key, tables = str(loc[-1]), [str(part) for part in loc[:-1] if not isinstance(part, int)]
    table = tables[-1] if tables else ""
    if "variants" in tables[:1] and key in keys["variants"]:
        return f"{key!r} belongs in [[variants]] itself; move it above its sub-tables"
    if key == "sweep":
        return "'sweep' belongs in a [[variants]] table; write [variants.sweep] below its [[variants]]"
    if table and key in keys[""] and (table, key) != ("references", "name"):
        brackets = f"write [[{key}]]" if key in ARRAYS else f"write [{key}]" if key in SECTIONS else ""
        return f"{key!r} belongs at the top; {brackets or 'move it above the first [table]'}"
    for home in SECTIONS:
        if key in keys[home]:
            if "sweep" in tables:
                return f"{key!r} belongs under {home}; write {home}.{key} = [...] in the sweep"
            return f"{key!r} belongs under [{'variants.' if tables[:1] == ['variants'] else ''}{home}]; move it there"
    if not get_close_matches(key, keys[table]):
        for home in ARRAYS:
            if key in keys[home] and key != "name":
                return f"{key!r} belongs under [[{home}]]; move it there"
    return f"is not a key; {nearest(key, keys[table])}"


def not_storable(value: Any, known: Iterable[Loc], loc: Loc = ()) -> list[Problem]:
    """The values in a table that a JSON record cannot hold: dates, nan, infinities, integers beyond 64 bits.

    known: places that have an error already. Values there are left out.
    """
    if any(_path(loc) == _path(other) for other in known):
        return []
    if isinstance(value, (dict, list)):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        return [problem for key, inner in inside for problem in not_storable(inner, known, (*loc, key))]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return [(loc, expected("a whole number of at most 64 bits", value))]
    if value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return []
    return [(loc, expected("text, a finite number, true, false, a list or a table", value))]
