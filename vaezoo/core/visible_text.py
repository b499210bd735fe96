"""Text from users and plugins that is safe to print. Needs no torch."""

import unicodedata

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"  # which Persian, Indic scripts and emoji are written with


def visible(text: str) -> str:
    r"""The text with its control characters shown: a terminal, which would obey the escape character, gets `\x1b`.

    So are characters that change the direction of text, that have no width, that break lines, and halves of surrogate
    pairs, which no file can be written with.
    """
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def one_line(text: str) -> str:
    """The visible text with each run of spaces, tabs and line breaks as one space."""
    return visible(" ".join(text.split()))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")
