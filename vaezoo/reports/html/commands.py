"""The command that reproduces a row."""

import re
import shlex
from collections.abc import Sequence

from vaezoo.core.visible_text import visible
from vaezoo.reports.html.folders import Cell

_SELECTING = ("--only", "--variant", "--dataset", "--shard", "--out", "--events", "--tensorboard")
"""Options of `vaezoo run` with a value that do not change what a cell measures."""
_SWITCHES = ("--force", "--retry-failed", "--fail-fast", "--report")
FRESH = "reproduced"
"""The folder that the command writes to: a folder that has the records would run nothing."""


def reproducing(cells: Sequence[Cell], label: str) -> list[str]:
    """The commands that run the cells of a row again into a new folder, each once; empty where no record says one.

    label: that of the results folder. A run of a matrix is narrowed to the row and its data set; any other command is
    as the record has it.
    """
    commands: dict[str, None] = {}
    for cell in cells:
        words = cell.record.provenance.command if cell.record is not None and cell.record.provenance else ()
        if not words:
            continue
        if words[:2] == ("vaezoo", "run"):
            narrowed = ("--only", pattern(label), "--dataset", pattern(cell.plan.dataset), "--out", FRESH)
            words = (*_without(words), *narrowed)
        elif words[:2] == ("vaezoo", "try"):
            words = (*_without(words, kept=("--dataset",)), "--out", FRESH)
        commands[shell_line(words)] = None
    return list(commands)


def shell_line(words: Sequence[str]) -> str:
    r"""A command to copy: bash and zsh read these words from it, and it has visible characters alone.

    >>> print(shell_line(["vaezoo", "a b", "\x1b[31m"]))
    vaezoo 'a b' $'\x1b[31m'
    """
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    r"""A word of a command, as $'..' with the bytes of what cannot be seen where something in it cannot be seen."""
    if visible(word) == word:
        return shlex.quote(word)
    return f"$'{''.join(map(_escaped, word))}'"


def _escaped(character: str) -> str:
    if visible(character) == character:
        return f"\\{character}" if character in ("\\", "'") else character
    is_byte = "\udc80" <= character <= "\udcff"  # how Python holds a byte of a command line that is no UTF-8
    return "".join(
        f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
    )


def pattern(name: str) -> str:
    """A pattern that fits this name alone: `--only` reads `*`, `?` and `[` as wildcards.

    >>> pattern("vae [fast]")
    'vae [[]fast]'
    """
    return re.sub(r"([*?[])", r"[\1]", name)


def _without(words: Sequence[str], kept: Sequence[str] = ()) -> list[str]:
    """The words of a command without the options that choose cells or say where results go."""
    left: list[str] = []
    rest = iter(words)
    for word in rest:
        name = word.partition("=")[0]
        if name in _SELECTING and name not in kept:
            if "=" not in word:
                next(rest, None)
        elif name not in _SWITCHES:
            left.append(word)
    return left
