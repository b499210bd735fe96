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


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """One line for a name that is not there, with the nearest right ones.

    >>> unknown("prior", "vampprio", ["normal", "vampprior"])
    "prior 'vampprio' is unknown; did you mean 'vampprior'?"
    """
    known = list(known)
    near = get_close_matches(str(name), known, n=3, cutoff=0.6)
    if near:
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        hint = f"there are: {', '.join(sorted(known))}" if known else "there are none"
    return f"{kind} {name!r} is unknown; {hint}"
