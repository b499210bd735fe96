"""Docstrings as Markdown: nothing in them is markup but `code`, and indices and powers are set as such."""

import re
import textwrap
from collections.abc import Iterable, Sequence

MARKUP = re.compile(r"[\\*_\[\]|#$~{}&<>]")
SYMBOLS = (
    (r"\bsum_", "∑_"),
    (r"\bprod_", "∏_"),
    (r"(?<![<-])->", "→"),
    (r">=", "≥"),
    (r"<=", "≤"),
    (r"(?<=[\w)\]] )\.\. (?=[\w(\[])", "… "),
)
BASES = "[A-Za-z∑∏]|log|exp|tanh|std|mean|var|scale|Var"
INDEX = re.compile(rf"(?<![A-Za-z0-9_`])({BASES})_([A-Za-z0-9]{{1,2}}|\{{[^}}]+\}})(?![A-Za-z0-9_(])")
POWER = re.compile(r"(?<=[\w)\]|'\x01])\^(-?\w+|\{[^}]+\}|\([^()]+\))")


def prose(text: str, names: Iterable[str] = ()) -> str:
    """A docstring's text as Markdown. Paragraphs that are indented, or begin with >>>, become blocks of code.

    names: hyper-parameters, which are set as code where a colon follows them: "flows: number of maps".
    """
    parts = [part for part in re.split(r"\n\s*\n", text.strip("\n")) if part.strip()]
    return "\n\n".join(_paragraph(part, tuple(names)) for part in parts)


def _paragraph(text: str, names: Sequence[str]) -> str:
    if text.startswith(">>> "):
        return f"```pycon\n{text}\n```"
    if text.startswith("    "):
        return f"```text\n{textwrap.dedent(text)}\n```"
    text = " ".join(text.split())
    for name in names:
        text = re.sub(rf"(?<![\w`]){name}: ", f"`{name}`: ", text)
    return "".join(piece if piece.startswith("`") else _typeset(piece) for piece in re.split(r"(`[^`]+`)", text))


def _typeset(text: str) -> str:
    """Text between code spans: symbols, indices and powers; every mark of Markdown or HTML shows as it is."""
    for pattern, symbol in SYMBOLS:
        text = re.sub(pattern, symbol, text)
    text = INDEX.sub(lambda m: f"{m[1]}\0sub\1{m[2].strip('{}')}\0/sub\1", text)
    text = POWER.sub(lambda m: f"\0sup\1{m[1].strip('{}')}\0/sup\1", text)
    return MARKUP.sub(lambda m: f"&#{ord(m[0])};", text).replace("\0", "<").replace("\1", ">")


def link_paper(paper: str | None) -> str:
    """A paper with a link for each arXiv number and DOI in it."""
    text = _typeset(str(paper or ""))
    text = re.sub(r"arXiv:([\w./-]*\d)", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    return re.sub(r"doi:(10\.[^\s;,]+)", r"[doi:\1](https://doi.org/\1)", text)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown. A bar stands in a cell as `code` or, from `prose`, as an entity."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(" ".join(cell.split()) for cell in cells) + " |"

    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(map(line, lines))
