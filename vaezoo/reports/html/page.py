"""The page of a report: a Jinja template, its style and scripts, and the numbers that the scripts draw, in one file."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from vaezoo import __version__
from vaezoo.core.visible_text import visible

FILES = files(__package__)
_HYPHEN = re.compile(r"(?<![\w-])-(?=\d|inf)")
CONTENT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
"""The page may fetch nothing, whatever stands in it."""


def source(name: str) -> str:
    """A file of this package as text."""
    return (FILES / name).read_text(encoding="utf-8")


def script_data(value: Any) -> Markup:
    """A value as JSON inside a <script> element: no text in it can end the element or a line of it.

    >>> script_data({"label": "</script>"})
    Markup('{"label":"\\\\u003c/script\\\\u003e"}')
    """
    text = json.dumps(_shown(value), separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _shown(value: Any) -> Any:
    """A value with the control characters of its texts shown, and no NaN."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): _shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finalized(value: Any) -> Any:
    """What an expression of the template writes: control characters of texts are shown. Jinja escapes it after that."""
    return visible(value) if type(value) is str else value


@cache
def environment() -> Environment:
    """The templates, which escape every text."""
    made = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"policy": CONTENT_POLICY, "version": __version__}
    made.filters["own"] = lambda name: Markup(source(name))
    made.filters |= {"script_data": script_data, "count": count_text, "span": span_text, "minus": minus_text}
    made.filters["attribute_data"] = lambda value: json.dumps(_shown(value))
    return made


SECTIONS = (
    ("leaderboard", "Leaderboard"),
    ("speed", "Speed"),
    ("learning", "Learning"),
    ("latent", "Latent space"),
    ("estimator", "Estimator"),
    ("pictures", "Pictures"),
    ("effects", "Effects"),
    ("rows", "Each row"),
)
"""The anchors of the sections of a data set, and what the navigation calls them."""


def count_text(count: int, what: str) -> str:
    """A number of things: `1 row`, `2,000 cells`."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def minus_text(text: str) -> str:
    """A number with a minus sign in place of its hyphen."""
    return _HYPHEN.sub("\N{MINUS SIGN}", text)


def span_text(seconds: float) -> str:
    """A time: `48 s`, `12 min`, `3 h 5 min`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60} min"


def rendered(parts: Sequence[Any], facts: Mapping[str, Any]) -> str:
    """The whole page."""
    return environment().get_template("page.html.jinja").render(parts=parts, sections=SECTIONS, **facts) + "\n"
