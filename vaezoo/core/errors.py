"""Errors whose message is one line for the user. Needs no torch."""

import inspect
import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path

LONGEST = 60
"""Characters of a value that a message shows."""
LONGEST_REASON = 500
"""Characters of a reason or a warning that a record keeps."""

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\^_])")
"""What a terminal takes for a command: colours, titles, the place of the cursor."""


class VaezooError(ValueError):
    """Invalid user input. The message says what was expected, what came, and what to do. The exit code is 2."""


class Skip(VaezooError):
    """A combination of parts that cannot work; the message is the reason. A plugin raises it from its constructor, and
    the cell gets the status `skipped`.
    """


class NoClosedForm(Exception):
    """q(z|x) lacks what a closed form of the KL needs. LatentModel.kl catches it and gives None."""


class VaezooWarning(UserWarning):
    """A number that cannot be trusted as it stands. The message says why, for how many images, and what to do."""


def nearest(name: object, known: Iterable[str]) -> str:
    """The known names that are near a name that does not exist, or all of them where none is near. Capitals count as
    small letters.

    >>> nearest("VampPrio", ["normal", "vampprior"])
    "did you mean 'vampprior'?"
    """
    known = list(known)
    small: dict[str, str] = {}
    for each in known:
        small.setdefault(each.lower(), each)
    if near := [small[each] for each in get_close_matches(str(name).lower(), small, n=3, cutoff=0.6)]:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"there are: {', '.join(sorted(known))}" if known else "there are none"


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """A message for an unknown name, with the nearest known names.

    >>> unknown("prior", "vampprio", ["normal", "vampprior"])
    "prior 'vampprio' is unknown; did you mean 'vampprior'?"
    """
    return f"{kind} {name!r} is unknown; {nearest(name, known)}"


def text_of(error: BaseException) -> str:
    """The text of an error; empty where its own code fails to give it."""
    try:
        return str(error)
    except Exception:
        return ""


def one_line(text: str, longest: int = LONGEST_REASON) -> str:
    """A text as one line that can be printed and stored: without terminal escapes and control characters, and cut.

    >>> one_line("\\x1b[31mred\\x1b[0m\\nor not")
    'red or not'
    """
    if len(text) <= longest and text.isprintable() and "  " not in text:
        return text
    text = _ESCAPES.sub("", text[: 4 * longest])
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split(" "))
    text = re.sub(" {2,}", " ", text).strip()
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def as_written(value: object) -> str:
    """A value as a matrix file writes it, for a message; a long one is cut.

    >>> as_written({"steps": [True, 2]})
    '{ steps = [true, 2] }'
    """
    text = _as_toml(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _as_toml(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key} = {_as_toml(inner)}" for key, inner in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    return str(value) if isinstance(value, date | time) else repr(value)


def described(kind: type) -> str:
    """A class and where it is written: `Cauchy (mine.py:12)`."""
    try:
        return f"{kind.__name__} ({Path(inspect.getsourcefile(kind) or '?').name}:{inspect.getsourcelines(kind)[1]})"
    except (OSError, TypeError):  # a class of a notebook
        return kind.__name__
