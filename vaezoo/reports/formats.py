"""A sheet of texts as Markdown, LaTeX or a terminal's table, whatever the texts are (reports/escapes.py)."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as TerminalTable
from rich.text import Text

from vaezoo.core.visible_text import one_line
from vaezoo.reports.escapes import escape_csv, escape_latex, escape_markdown, markdown_paragraph

__all__ = [
    "Line",
    "Sheet",
    "Terminal",
    "escape_csv",
    "escape_latex",
    "escape_markdown",
    "file_name",
    "latex",
    "markdown",
]

_WORDS = ("label", "seeds", "marks", "measured", "status", "verdict", "source", "column", "axis", "level")
"""The headings of texts, which stand on the left; numbers stand on the right."""
_FOLDED = ("label", "verdict", "source")
"""The headings of texts that a narrow terminal folds."""


@dataclass(frozen=True)
class Line:
    """One row of a sheet: a text for each heading, and the positions of the bold ones."""

    texts: tuple[str, ...]
    bold: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Sheet:
    """A table as texts: `lead` in one line, then `lines`, a rule, `references`, the `notes` below, and the `details`.

    names: what each column is called besides its heading. important: those that a narrow terminal shows first, by name;
    the others follow in their order. `lead` and `details` are paragraphs.
    """

    title: str
    lead: list[str]
    headings: list[str]
    lines: list[Line]
    references: list[Line]
    notes: list[str]
    details: list[str] = field(default_factory=list)
    names: Sequence[str] = ()
    important: Sequence[str] = ()

    def mapped(self, change: Callable[[str], str], paragraph: Callable[[str], str] | None = None) -> "Sheet":
        """The sheet with every shown text changed. paragraph: changes those that begin a line; else `change` does."""

        def lines(given: list[Line]) -> list[Line]:
            return [Line(tuple(map(change, line.texts)), line.bold) for line in given]

        start = paragraph or change
        lead, notes, details = (list(map(start, texts)) for texts in (self.lead, self.notes, self.details))
        return replace(
            self,
            title=change(self.title),
            lead=lead,
            headings=list(map(change, self.headings)),
            lines=lines(self.lines),
            references=lines(self.references),
            notes=notes,
            details=details,
        )


def markdown(sheet: Sheet, *more: Sheet) -> str:
    """The sheet as a Markdown page, with more sheets below it, and last the details."""
    parts = [f"# {escape_markdown(sheet.title)}", *_markdown_parts(sheet)]
    for further in more:
        parts += [f"## {escape_markdown(further.title)}", *_markdown_parts(further)]
    details = [markdown_paragraph(text) for each in (sheet, *more) for text in each.details]
    return "\n\n".join([*parts, *(["## Details"] if details else []), *details]) + "\n"


def _markdown_parts(sheet: Sheet) -> Iterator[str]:
    """Lead, table and notes. A line of text precedes the references: Markdown has no rule inside a table."""

    def cells(line: Line) -> list[str]:
        return [f"**{text}**" if place in line.bold else text for place, text in enumerate(line.texts)]

    sides, sheet = _aligned(sheet), sheet.mapped(escape_markdown, markdown_paragraph)
    yield from sheet.lead
    body = [cells(line) for line in sheet.lines]
    if sheet.references:
        body += [["*from elsewhere:*"] + [""] * (len(sheet.headings) - 1), *map(cells, sheet.references)]
    yield _piped(sheet.headings, body, sides)
    if sheet.notes:
        yield "\n".join(f"- {note}" for note in sheet.notes)


def _piped(headings: list[str], body: list[list[str]], sides: list[Literal["left", "right"]]) -> str:
    """A pipe table with aligned columns."""
    widths = [max([len(heading) + 2, *map(len, column)]) for heading, *column in zip(headings, *body, strict=True)]
    form = (
        "| " + " | ".join(f"{{:{'<' if s == 'left' else '>'}{w}}}" for s, w in zip(sides, widths, strict=True)) + " |"
    )
    rules = (f":{'-' * (w + 1)}" if s == "left" else f"{'-' * (w + 1)}:" for s, w in zip(sides, widths, strict=True))
    return "\n".join([form.format(*headings), f"|{'|'.join(rules)}|", *(form.format(*row) for row in body)])


def latex(sheet: Sheet, *more: Sheet) -> str:
    r"""The sheet as a tabular for `\input`, with more sheets below it; needs booktabs and LaTeX of 2020 or later.

    Lead and notes stand below the tabular; titles and details are comments.
    """
    return "\n\\par\\medskip\n".join("\n".join(_latex_lines(each)) + "\n" for each in (sheet, *more))


def _latex_lines(sheet: Sheet) -> Iterator[str]:
    def row(line: Line) -> str:
        cells = (rf"\textbf{{{t}}}" if place in line.bold else t for place, t in enumerate(line.texts))
        return " & ".join(cells) + r" \\"

    columns = "".join(side[0] for side in _aligned(sheet))
    yield from (f"% {one_line(text)}" for text in (sheet.title, *sheet.details))
    sheet = sheet.mapped(escape_latex)
    yield from (rf"\begin{{tabular}}{{{columns}}}", r"\toprule", row(Line(tuple(sheet.headings))), r"\midrule")
    yield from map(row, sheet.lines)
    if sheet.references:
        yield from (r"\midrule", *map(row, sheet.references))
    yield from (r"\bottomrule", r"\end{tabular}")
    if below := [*sheet.lead, *sheet.notes]:
        yield from ("", r"{\footnotesize", *(rf"\noindent {text}\par" for text in below), "}")


@dataclass(frozen=True)
class Terminal:
    """Sheets for a rich console: `console.print(Terminal(sheet))`.

    A console that is too narrow for all columns shows the important ones and says in a line which it left out; no
    number is cut. details: whether the details are printed, too. rich does not read labels as markup.
    """

    sheet: Sheet
    more: Sequence[Sheet] = ()
    details: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for sheet in (self.sheet, *self.more):
            yield from _terminal_parts(sheet.mapped(one_line), options.max_width)
        if self.details:
            yield from (Text(one_line(text)) for each in (self.sheet, *self.more) for text in each.details)


def _terminal_parts(sheet: Sheet, room: int) -> Iterator[Text | TerminalTable]:
    texts = [line.texts for line in (*sheet.lines, *sheet.references)]
    widths = [
        max(map(cell_len, (*heading.split(), *(row[place] for row in texts))), default=0)
        for place, heading in enumerate(sheet.headings)
    ]
    most = max(12, room // 4)
    widths = [min(w, most) if heading in _FOLDED else w for w, heading in zip(widths, sheet.headings, strict=True)]
    names = list(sheet.names or sheet.headings)
    shown = _fitting(names, widths, sheet.important, room)
    yield Text(sheet.title, style="bold")
    yield _terminal_table(sheet, shown, widths, room)
    if left := [one_line(name) for place, name in enumerate(names) if place not in shown]:
        yield Text(f"left out, for {room} characters a line: {', '.join(left)}")
    yield from map(Text, (*sheet.lead, *sheet.notes))


def _fitting(names: list[str], widths: list[int], important: Sequence[str], room: int) -> list[int]:
    """The places of the columns that fit: the first one, the most important of the others, and whichever still fit."""
    places = range(1, len(names))
    first = [place for name in important for place in places if names[place] == name]
    shown, taken = [0], widths[0] + 4
    for place in dict.fromkeys([*first, *places]):
        if len(shown) == 1 or taken + widths[place] + 3 <= room:
            shown.append(place)
            taken += widths[place] + 3
    return sorted(shown)


def _terminal_table(sheet: Sheet, places: list[int], widths: list[int], room: int) -> TerminalTable:
    """The table of these columns. Where not all headings and labels fit in one line, each column's width is fixed: rich
    would shrink short columns in favour of long ones.
    """
    table = TerminalTable()
    sides, headings = _aligned(sheet), Line(tuple(sheet.headings))
    every = [headings, *sheet.lines, *sheet.references]
    tight = sum(max(cell_len(line.texts[at]) for line in every) + 3 for at in places) + 1 > room
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
    return ["left" if heading in _WORDS else "right" for heading in sheet.headings]


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
