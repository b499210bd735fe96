"""Texts as they may stand in Markdown, LaTeX or CSV.

Users and plugins name labels, data sets, columns and reasons: no such text is markup, a command, a formula or a control
sequence anywhere.
"""

import re
from typing import Any

from vaezoo.core.visible_text import one_line, visible

_MARKDOWN = re.compile(
    r"([|*<`~$\\]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore inside a word is not emphasis
    r"|\](?=[(\[:])"  # the end of a link's text; other brackets are none
    r"|&(?=#?\w+;))"  # the start of an entity
)
_BLOCK = re.compile(r"[#>+=-]|\d+(?=[.)])")
_FORMULA = re.compile(r"(^|;)(?=[\s\"']*[=+\-@＝＋－＠])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "[": "{[}",
    "]": "{]}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "`": r"\textasciigrave{}",
    "*": "{*}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "·": r"$\cdot$",
    "…": r"\ldots{}",
}
_LATEX_SPECIAL = re.compile("|".join(map(re.escape, _LATEX)))
_LATEX_MINUS = re.compile(r"(?<![\w-])-(?=\d|inf)")
_LATEX_LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=,)(?=,)")


def escape_markdown(text: str) -> str:
    r"""The text escaped, so that Markdown finds no markup in it: `a|b` becomes `a\|b`."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def markdown_paragraph(text: str) -> str:
    r"""The text escaped for the beginning of a line, where `# a`, `> a`, `- a` and `1. a` are markup, too."""
    escaped = escape_markdown(text)
    start = _BLOCK.match(escaped)
    if not start:
        return escaped
    return f"{start[0]}\\{escaped[start.end() :]}" if start[0].isdigit() else f"\\{escaped}"


def escape_latex(text: str) -> str:
    r"""The text escaped, so that LaTeX finds no command in it: `a_b & 5%` becomes `a\_b \& 5\%`.

    Brackets and stars stand in braces, because LaTeX reads them as arguments of the `\\` before them. Two hyphens stay
    two hyphens.
    """
    escaped = _LATEX_SPECIAL.sub(lambda found: _LATEX[found.group()], one_line(text))
    return _LATEX_MINUS.sub("$-$", _LATEX_LIGATURE.sub("{}", escaped))


def escape_csv(value: Any) -> Any:
    """A text for CSV, with an apostrophe before what a spreadsheet would compute: `=1+1` becomes `'=1+1`.

    So is what follows a semicolon, at which some spreadsheets divide a line. Numbers, also those in a text, and other
    values stay as they are.
    """
    if not isinstance(value, str):
        return value
    try:
        float(value)
    except ValueError:
        return visible(_FORMULA.sub(r"\1'", value))
    return value
