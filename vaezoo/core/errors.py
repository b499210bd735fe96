"""Errors whose message is one line for the user. Needs no torch."""

from collections.abc import Iterable
from difflib import get_close_matches


class VaezooError(ValueError):
    """Invalid user input. The message says what was expected, what came, and what to do. The exit code is 2."""


class Skip(VaezooError):
    """A combination of parts that cannot work; the message is the reason. A plugin raises it from its constructor, and
    the cell gets the status `skipped`.
    """


class VaezooWarning(UserWarning):
    """A number that cannot be trusted as it stands. The message says why, for how many images, and what to do."""


def nearest(name: object, known: Iterable[str]) -> str:
    """The known names that are near a name that does not exist, or all of them where none is near.

    >>> nearest("vampprio", ["normal", "vampprior"])
    "did you mean 'vampprior'?"
    """
    known = list(known)
    if near := get_close_matches(str(name), known, n=3, cutoff=0.6):
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"there are: {', '.join(sorted(known))}" if known else "there are none"


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """A message for an unknown name, with the nearest known names.

    >>> unknown("prior", "vampprio", ["normal", "vampprior"])
    "prior 'vampprio' is unknown; did you mean 'vampprior'?"
    """
    return f"{kind} {name!r} is unknown; {nearest(name, known)}"
