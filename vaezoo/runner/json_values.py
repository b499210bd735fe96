"""Between dataclasses and JSON."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def json_value(value: Any) -> Any:
    """The value as JSON holds it: tuples become lists, keys become strings, NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def known_fields(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a JSON object that are fields of a dataclass. What another version wrote besides is left out."""
    return {field.name: value[field.name] for field in fields(kind) if field.name in value}
