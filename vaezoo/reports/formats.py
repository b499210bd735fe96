"""A sheet of texts as Markdown, LaTeX or a terminal's table, and texts as they may stand in Markdown, LaTeX or CSV.

Users and plugins name labels, data sets, columns and reasons: no such text is markup, a command, a formula or a control
sequence anywhere.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as TerminalTable
from rich.text import Text

from vaezoo.core.visible_text import one_line, visible


@dataclass(frozen=True)
class Line:
    """One row of a sheet: a text for each heading, and the positions of the bold ones."""

    texts: tuple[str, ...]
    bold: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Sheet:
    """A table as texts: the paragraphs of `lead`, then `lines`, a rule, `references`, and the `notes` below."""

    title: str
    lead: list[str]
    headings: list[str]
    lines: list[Line]
    references: list[Line]
    notes: list[str]

    def mapped(self, change: Callable[[str], str]) -> "Sheet":
        """The sheet with every text changed."""

        def lines(given: list[Line]) -> list[Line]:
            return [Line(tuple(map(change, line.texts)), line.bold) for line in given]

        lead, headings, notes = (list(map(change, texts)) for texts in (self.lead, self.headings, self.notes))
        return Sheet(change(self.title), lead, headings, lines(self.lines), lines(self.references), notes)


_MARKDOWN = re.compile(
    r"([|*<`~$\\]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore inside a word is not emphasis
    r"|\](?=[(\[:])"  # the end of a link's text; other brackets are none
    r"|&(?=#?\w+;))"  # the start of an entity
)
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")
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


def escape_markdown(text: str) -> str:
    r"""The text escaped, so that Markdown finds no markup in it: `a|b` becomes `a\|b`."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def escape_latex(text: str) -> str:
    r"""The text escaped, so that LaTeX finds no command in it: `a_b & 5%` becomes `a\_b \& 5\%`.

    Brackets and stars stand in braces, because LaTeX reads them as arguments of the `\\` before them.
    """
    escaped = _LATEX_SPECIAL.sub(lambda found: _LATEX[found.group()], one_line(text))
    return _LATEX_MINUS.sub("$-$", escaped)


def escape_csv(value: Any) -> Any:
    """A text for CSV, with an apostrophe before what a spreadsheet would compute: `=1+1` becomes `'=1+1`.

    Numbers, also those in a text, and other values stay as they are.
    """
    if not isinstance(value, str):
        return value
    try:
        float(value)
    except ValueError:
        return ("'" if _FORMULA.match(value) else "") + visible(value)
    return value


def markdown(sheet: Sheet) -> str:
    """The sheet as a Markdown page. A line of text precedes the references: Markdown has no rule inside a table."""

    def cells(line: Line) -> list[str]:
        return [f"**{text}**" if place in line.bold else text for place, text in enumerate(line.texts)]

    sides, sheet = _aligned(sheet), sheet.mapped(escape_markdown)
    body = [cells(line) for line in sheet.lines]
    if sheet.references:
        body += [["*from elsewhere:*"] + [""] * (len(sheet.headings) - 1), *map(cells, sheet.references)]
    parts = [f"# {sheet.title}", *sheet.lead, _piped(sheet.headings, body, sides)]
    if sheet.notes:
        parts.append("\n".join(f"- {note}" for note in sheet.notes))
    return "\n\n".join(parts) + "\n"


def _piped(headings: list[str], body: list[list[str]], sides: list[Literal["left", "right"]]) -> str:
    """A pipe table with aligned columns."""
    widths = [max([len(heading) + 2, *map(len, column)]) for heading, *column in zip(headings, *body, strict=True)]
    form = (
        "| " + " | ".join(f"{{:{'<' if s == 'left' else '>'}{w}}}" for s, w in zip(sides, widths, strict=True)) + " |"
    )
    rules = (f":{'-' * (w + 1)}" if s == "left" else f"{'-' * (w + 1)}:" for s, w in zip(sides, widths, strict=True))
    return "\n".join([form.format(*headings), f"|{'|'.join(rules)}|", *(form.format(*row) for row in body)])


def latex(sheet: Sheet) -> str:
    r"""The sheet as a tabular for `\input`; needs booktabs. Title and lead are comments; the notes stand below."""

    def row(line: Line) -> str:
        cells = (rf"\textbf{{{t}}}" if place in line.bold else t for place, t in enumerate(line.texts))
        return " & ".join(cells) + r" \\"

    columns = "".join(side[0] for side in _aligned(sheet))
    lines = [f"% {one_line(text)}" for text in (sheet.title, *sheet.lead)]
    sheet = sheet.mapped(escape_latex)
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", row(Line(tuple(sheet.headings))), r"\midrule"]
    lines += [row(line) for line in sheet.lines]
    if sheet.references:
        lines += [r"\midrule", *map(row, sheet.references)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if sheet.notes:
        lines += ["", r"{\footnotesize", *(rf"\noindent {note}\par" for note in sheet.notes), "}"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Terminal:
    """The sheet for a rich console: `console.print(Terminal(sheet))`.

    On a narrow console the columns continue in further tables below, each with the labels and the marks; no number is
    cut. rich does not read labels as markup.
    """

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sheet = self.sheet.mapped(one_line)
        texts = [line.texts for line in (*sheet.lines, *sheet.references)]
        widths = [
            max(map(len, (*heading.split(), *(row[place] for row in texts))))
            for place, heading in enumerate(sheet.headings)
        ]
        widths[0] = min(widths[0], max(12, options.max_width // 4))
        last = [place for place, heading in enumerate(sheet.headings) if place and heading == "marks"]
        groups: list[list[int]] = [[]]
        for place in (place for place in range(1, len(widths)) if place not in last):
            taken = sum(widths[at] + 3 for at in (0, *groups[-1], *last))
            if groups[-1] and taken + widths[place] + 4 > options.max_width:
                groups.append([])
            groups[-1].append(place)
        yield Text(sheet.title, style="bold")
        for group in groups:
            yield _terminal_part(sheet, [0, *group, *last], widths, options.max_width)
        yield from map(Text, (*sheet.notes, *sheet.lead))


def _terminal_part(sheet: Sheet, places: list[int], widths: list[int], room: int) -> TerminalTable:
    """The table of these columns. Where they do not fit, each column's width is fixed: rich would shrink short
    columns in favour of long ones.
    """
    table = TerminalTable()
    sides, headings = _aligned(sheet), Line(tuple(sheet.headings))
    every = [headings, *sheet.lines, *sheet.references]
    tight = sum(max(len(line.texts[at]) for line in every) + 3 for at in places) + 1 > room
    for place in places:
        heading = Text(sheet.headings[place])
        width = widths[place]
        table.add_column(
            heading, justify=sides[place], min_width=width, width=width if tight else None, overflow="fold"
        )
    for lines in (sheet.lines, sheet.references):
        table.add_section()
        for line in lines:
            table.add_row(*(Text(line.texts[at], style="bold" if at in line.bold else "") for at in places))
    return table


def _aligned(sheet: Sheet) -> list[Literal["left", "right"]]:
    """The alignment of each column: words to the left, numbers to the right."""
    words = ("label", "seeds", "marks", "measured", "status", "verdict", "axis", "level")
    return ["left" if heading in words else "right" for heading in sheet.headings]


def file_name(dataset: str, taken: set[str]) -> str:
    """A file name for a data set that any file system allows and that is not in `taken`; it is added to `taken`.

    >>> file_name("linear-gaussian(dimensions=8)", set())
    'linear-gaussian-dimensions-8'
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", dataset).strip("-.")[:100] or "dataset"
    name, count = safe, 1
    while name.casefold() in taken:
        count += 1
        name = f"{safe}-{count}"
    taken.add(name.casefold())
    return name
