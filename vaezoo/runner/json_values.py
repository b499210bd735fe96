"""Between dataclasses and JSON. What is read is checked: its size, its depth, and the type of every field."""

import json
import math
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from vaezoo.core.errors import as_written
from vaezoo.core.options import in_words
from vaezoo.training.options import out_of_range

DEEPEST = 32
"""Lists and tables within each other that a field may have."""
TOO_DEEP = f"expected at most {DEEPEST} lists and tables within each other"
LARGEST_NUMBER = 1e50
"""No number of a record or a plan is larger. vaezoo computes in float32, whose largest number is 3.4e38."""

T = TypeVar("T")
Reader = Callable[[Any], Any]


class Misfit(ValueError):
    """A value of a file does not have the type of its field. place: the names that lead to it, outermost first."""

    def __init__(self, said: str, *place: str):
        super().__init__(said)
        self.said, self.place = said, place

    def inside(self, name: str) -> "Misfit":
        """The same error, seen from the object that has the value under this name."""
        return Misfit(self.said, name, *self.place)

    def __str__(self) -> str:
        return f"{'.'.join(self.place) or 'the file'} {self.said}"


def json_value(value: Any) -> Any:
    """The value as JSON holds it: tuples become lists, keys become strings, NaN and infinities become null, and what is
    no Unicode text becomes `?`.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {json_value(str(key)): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def canonical(value: Any) -> str:
    """The one JSON text of a value: names sorted, no spaces. Keys and digests are its sha256."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def parsed(content: bytes) -> dict[str, Any]:
    """The JSON object in a file's content. Raises ValueError, in one line, for anything else, for lists and tables so
    deep within each other that Python cannot read them, and for a whole number of thousands of digits.
    """
    try:
        value = json.loads(content.decode())
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    except ValueError:
        raise ValueError("it holds a number of too many digits") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {_shown(value)}")
    return value


def fitted(kind: type[T], value: Any) -> T:
    """A value of a JSON file as an instance of a dataclass, or of any annotation that a dataclass's field may have.

    Types are strict: a Boolean or a text is no number, a number is finite and at most LARGEST_NUMBER, and null stands
    only where None may. Entries that are no field are left out: another version wrote them. Raises Misfit, whose
    message names the field.
    """
    read: Callable[[Any], T] = _reader(cast(Hashable, kind))
    return read(value)


@lru_cache(maxsize=512)
def _reader(annotation: Any) -> Reader:
    """The function that reads values of an annotation."""
    if (is_one := _scalar(annotation)) is not None:
        return _checked(annotation, is_one)
    origin, inner = get_origin(annotation), get_args(annotation)
    kind = origin or annotation
    if annotation is Any:
        return _text_checked
    if origin is Annotated:
        return _within_range(annotation, _reader(inner[0]))
    if origin in (Union, types.UnionType):
        return _any_of(annotation, [_reader(option) for option in inner])
    if kind is tuple and inner[-1:] != (Ellipsis,):
        return _exactly(annotation, [_reader(each) for each in inner])
    if kind in (tuple, list):
        return _items_of(kind, _scalar(inner[0]), _reader(inner[0]))
    if kind in (dict, Mapping):
        return _table_of(_reader(inner[1]))
    return _fields_of(kind)


@lru_cache(maxsize=512)
def _scalar(annotation: Any) -> Callable[[Any], bool] | None:
    """Whether a value has the type of an annotation, for one of numbers, texts, Booleans and None, and unions and
    Literals of these; None for any other annotation.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return lambda value: any(value == each and type(value) is type(each) for each in inner)
    if origin in (Union, types.UnionType):
        first, second = _scalar(inner[0]), _scalar(inner[1] if len(inner) == 2 else Union[inner[1:]])  # noqa: UP007
        return None if first is None or second is None else lambda value: first(value) or second(value)
    return _SCALARS.get(annotation) if isinstance(annotation, type) else None


def is_text(value: str) -> bool:
    """Whether a string is Unicode text: it can be written and printed."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


_SCALARS: dict[type, Callable[[Any], bool]] = {
    int: lambda value: type(value) is int and -(2**63) <= value < 2**63,
    float: lambda value: type(value) in (float, int) and -LARGEST_NUMBER <= value <= LARGEST_NUMBER,
    bool: lambda value: type(value) is bool,
    str: lambda value: type(value) is str and is_text(value),
    type(None): lambda value: value is None,
}


def _shown(value: Any) -> str:
    """A value in a message, which stays one line that can be printed."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    return ascii(value)[:40] if isinstance(value, str) else "null" if value is None else as_written(value)


def _checked(annotation: Any, is_one: Callable[[Any], bool]) -> Reader:
    def read(value: Any) -> Any:
        """The value itself, where it has the type."""
        if is_one(value):
            return value
        raise Misfit(f"must be {in_words(annotation)}, got {_shown(value)}")

    return read


def _text_checked(value: Any, depth: int = DEEPEST) -> Any:
    """Any value that is not too deep, and whose texts can be written and printed."""
    if isinstance(value, dict | list):
        if depth == 0:
            raise Misfit(f"has more than {DEEPEST} lists and tables within each other")
        if isinstance(value, list):
            return [_text_checked(item, depth - 1) for item in value]
        return {_text_checked(name): _text_checked(item, depth - 1) for name, item in value.items()}
    if isinstance(value, str) and not is_text(value):
        raise Misfit(f"must be Unicode text, got {_shown(value)}")
    return value


def _within_range(annotation: Any, read_inner: Reader) -> Reader:
    def read(value: Any) -> Any:
        """The value, where it is within the annotation's range."""
        found = read_inner(value)
        if limit := out_of_range(found, annotation):
            raise Misfit(f"must be {limit}, got {_shown(value)}")
        return found

    return read


def _any_of(annotation: Any, readers: list[Reader]) -> Reader:
    def read(value: Any) -> Any:
        """The value as the first of the types that it has."""
        errors = []
        for read_option in readers:
            try:
                return read_option(value)
            except Misfit as error:
                errors.append(error)
        deepest = max(errors, key=lambda error: len(error.place))
        raise deepest if deepest.place else Misfit(f"must be {in_words(annotation)}, got {_shown(value)}")

    return read


def _exactly(annotation: Any, readers: list[Reader]) -> Reader:
    def read(value: Any) -> Any:
        """The tuple of a list of this many items."""
        if not isinstance(value, list) or len(value) != len(readers):
            raise Misfit(f"must be {in_words(annotation)}, got {_shown(value)}")
        return tuple(read_item(item) for read_item, item in zip(readers, value, strict=True))

    return read


def _items_of(kind: type, is_item: Callable[[Any], bool] | None, read_item: Reader) -> Reader:
    def read(value: Any) -> Any:
        """The list or tuple of a list."""
        if not isinstance(value, list):
            raise Misfit(f"must be a list, got {_shown(value)}")
        if is_item is not None and all(map(is_item, value)):  # faster
            return kind(value)
        return kind([read_item(item) for item in value])

    return read


def _table_of(read_item: Reader) -> Reader:
    def read(value: Any) -> Any:
        """The dict of a JSON object."""
        if not isinstance(value, dict):
            raise Misfit(f"must be a table, got {_shown(value)}")
        found = {}
        for name, item in value.items():
            if not is_text(name):
                raise Misfit(f"must have names of Unicode text, got {_shown(name)}")
            try:
                found[name] = read_item(item)
            except Misfit as error:
                raise error.inside(name if name.isprintable() else ascii(name)) from None
        return found

    return read


def _fields_of(kind: Any) -> Reader:
    hints = get_type_hints(kind, include_extras=True)
    readers = [
        (field.name, _reader(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
        if field.init
    ]

    def read(value: Any) -> Any:
        """The dataclass of a JSON object."""
        if not isinstance(value, dict):
            raise Misfit(f"must be a table, got {_shown(value)}")
        found = {}
        for name, read_field, is_needed in readers:
            if name in value:
                try:
                    found[name] = read_field(value[name])
                except Misfit as error:
                    raise error.inside(name) from None
            elif is_needed:
                raise Misfit("is missing", name)
        return kind(**found)

    return read
