"""What goes wrong in a question, said in one line. Needs no torch."""

from collections.abc import Iterable
from difflib import get_close_matches


class VaezooError(ValueError):
    """The question was wrong: the message says what was expected, what came, and what to do. Exit code 2."""


class Skip(VaezooError):
    """This combination cannot be: the message is the reason. A plugin raises it from its constructor; the cell is
    `skipped`.
    """


class VaezooWarning(UserWarning):
    """A number is not to be trusted as it stands: the message says why, for how many images, and what to do."""


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
    """One line for a name that does not exist, with the nearest right ones.

    >>> unknown("prior", "vampprio", ["normal", "vampprior"])
    "prior 'vampprio' is unknown; did you mean 'vampprior'?"
    """
    return f"{kind} {name!r} is unknown; {nearest(name, known)}"
