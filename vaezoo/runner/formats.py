"""The form that records and plans share on the disk: the number of their format, and the digest of their content."""

import hashlib
from collections.abc import Mapping
from typing import Any

from vaezoo.runner.json_values import TOO_DEEP, canonical

FORMAT = 2
"""Of records and of plan.json: raised by one with every change that an older vaezoo would read wrongly. Files without a
number are of format 1.
"""


class NewerFormat(ValueError):
    """A newer version of vaezoo wrote the file."""


def sha256_of_json(value: Any) -> str:
    """The sha256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a file: the format, the value, and last the digest of both."""
    content = {"format": FORMAT, **value}
    return content | {"digest": sha256_of_json(content)}


def opened(content: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The value that was sealed, and its digest, which a file of format 1 need not have.

    Raises ValueError, in one line, where a newer vaezoo wrote the content, or it has been changed since.
    """
    number = content.get("format", 1)
    if type(number) is not int or number < 1:
        raise ValueError("its format must be a whole number >= 1")
    if number > FORMAT:
        raise NewerFormat(f"a newer vaezoo wrote it (format {number}; this one reads up to {FORMAT}): update vaezoo")
    digest = content.get("digest")
    value = {name: each for name, each in content.items() if name != "digest"}
    if digest is None and number == 1:
        return value, None
    try:
        found = sha256_of_json(value)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if digest != found:
        raise ValueError("it has been changed: its digest is not that of its content")
    return value, digest
