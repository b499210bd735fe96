"""How a table looks: numbers as text, and a sheet as Markdown, LaTeX or a terminal's table."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as TerminalTable
from rich.text import Text

from vaezoo.reports.statistics import Summary


@dataclass(frozen=True)
class Line:
    """One row of a sheet: a text for each heading, and the places of those in bold."""

    texts: tuple[str, ...]
    bold: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Sheet:
    """A table for people, in plain text: `lines` above the rule, `references` below, `lead` before, `notes` after."""

    title: str
    lead: list[str]
    headings: list[str]
    lines: list[Line]
    references: list[Line]
    notes: list[str]


def number(summary: Summary, style: str = "plain", unit: float = 1.0) -> str:
    """A cell's text: `-86.32 ± 0.14` (interval), `-86.40 .. -86.10` (range), the bare value, or nothing.

    Digits follow the half-width: two of them are significant (of a range's one), with at least two decimals for nats
    and three for bits. Where all seeds agree the value stands alone.
    Speeds have three digits and an SI letter: `26.6k`.
    """
    if summary.count == 0:
        return ""
    mean, low, high = (value / unit for value in (summary.mean, summary.low, summary.high))
    if not math.isfinite(mean):
        return f"{mean}"
    half, letter = (high - low) / 2, ""
    half = half if half > 1e-9 * abs(mean) else 0.0  # less is the rounding of equal numbers
    if style == "speed":
        mean, low, high, half, letter = _si(mean, low, high, half)
    places = _places(mean, half, style, digits=1 if summary.kind == "range" else 2)
    if places and style in ("count", "plain") and summary.kind == "range" and low.is_integer() and high.is_integer():
        places = 0
    form = ".4g" if places is None else f"z,.{places}f"
    if half and summary.kind == "interval":
        around = f"{half:{'.2g' if places is None else form}}"
        return f"{mean:{form}}{letter} ± {around}{letter}" if around.strip("0.") else f"{mean:{form}}{letter}"
    if half and f"{low:{form}}" != f"{high:{form}}":
        return f"{low:{form}}{letter} .. {high:{form}}{letter}"
    return f"{mean:{form}}{letter}"


def _si(mean: float, low: float, high: float, half: float) -> tuple[float, float, float, float, str]:
    """A speed and its ends in units, thousands, millions or billions, as the mean has it at three digits."""
    size = abs(float(f"{mean:.2e}"))
    scale, letter = next(((s, c) for s, c in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if size >= s), (1.0, ""))
    return mean / scale, low / scale, high / scale, half / scale, letter


def _places(mean: float, half: float, style: str, digits: int) -> int | None:
    """How many decimals give the half-width so many digits; None where only an exponent can be read."""
    size = abs(mean)
    if style == "nats":
        least = 2
    elif style == "bits":
        least = 3
    elif style == "speed":
        least = max(0, 2 - _magnitude(float(f"{size:.2e}")))
        return min(least, 4)  # the third digit is finer than any clock
    elif mean.is_integer() and not half:
        return 0
    elif style == "count":
        least = 1 if size < 100 and not half else 0
    else:
        least = max(0, 3 - _magnitude(float(f"{size:.3e}"))) if not half else 0
    if half:
        least = max(least, digits - 1 - _magnitude(float(f"{half:.1e}")))
    if style in ("nats", "bits"):
        return min(least, 6) if size < 1e9 else None
    return least if least <= 6 and size < 1e12 else None


def _magnitude(value: float) -> int:
    """The power of ten of the first digit; 0 of 0."""
    return math.floor(math.log10(value)) if value else 0


_MARKDOWN = re.compile(r"([|*<`~\\]|(?<![^\W_])_|_(?![^\W_]))")  # an underscore inside a word is no emphasis
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
    r"""Text that a Markdown table shows as it is: `a|b` becomes `a\|b`."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def escape_latex(text: str) -> str:
    r"""Text that LaTeX sets as it is: `a_b & 5%` becomes `a\_b \& 5\%`.

    Brackets and stars stand in braces, as they would be taken for arguments of the `\\` before them.
    """
    escaped = _LATEX_SPECIAL.sub(lambda found: _LATEX[found.group()], " ".join(text.split()))
    return _LATEX_MINUS.sub("$-$", escaped)


def markdown(sheet: Sheet) -> str:
    """The sheet as a Markdown page. A line says where references begin, as Markdown has no rule inside a table."""

    def cells(line: Line) -> list[str]:
        texts = map(escape_markdown, line.texts)
        return [f"**{text}**" if place in line.bold else text for place, text in enumerate(texts)]

    body = [cells(line) for line in sheet.lines]
    if sheet.references:
        body += [["*from elsewhere:*"] + [""] * (len(sheet.headings) - 1), *map(cells, sheet.references)]
    headings = [escape_markdown(heading) for heading in sheet.headings]
    table = _piped(headings, body, _aligned(sheet))
    parts = [f"# {escape_markdown(sheet.title)}", *map(escape_markdown, sheet.lead), table]
    if sheet.notes:
        parts.append("\n".join(f"- {escape_markdown(note)}" for note in sheet.notes))
    return "\n\n".join(parts) + "\n"


def _piped(headings: list[str], body: list[list[str]], sides: list[Literal["left", "right"]]) -> str:
    """A pipe table, its columns in line."""
    widths = [max([len(heading) + 2, *map(len, column)]) for heading, *column in zip(headings, *body, strict=True)]
    form = (
        "| " + " | ".join(f"{{:{'<' if s == 'left' else '>'}{w}}}" for s, w in zip(sides, widths, strict=True)) + " |"
    )
    rules = (f":{'-' * (w + 1)}" if s == "left" else f"{'-' * (w + 1)}:" for s, w in zip(sides, widths, strict=True))
    return "\n".join([form.format(*headings), f"|{'|'.join(rules)}|", *(form.format(*row) for row in body)])


def latex(sheet: Sheet) -> str:
    r"""The sheet as a tabular for `\input`; needs booktabs. Title and lead are comments, the notes stand below it."""

    def row(line: Line) -> str:
        texts = map(escape_latex, line.texts)
        return " & ".join(rf"\textbf{{{t}}}" if place in line.bold else t for place, t in enumerate(texts)) + r" \\"

    columns = "".join(side[0] for side in _aligned(sheet))
    lines = [f"% {' '.join(text.split())}" for text in (sheet.title, *sheet.lead)]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", row(Line(tuple(sheet.headings))), r"\midrule"]
    lines += [row(line) for line in sheet.lines]
    if sheet.references:
        lines += [r"\midrule", *map(row, sheet.references)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if sheet.notes:
        lines += ["", r"{\footnotesize", *(rf"\noindent {escape_latex(note)}\par" for note in sheet.notes), "}"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Terminal:
    """The sheet for a rich console: `console.print(Terminal(sheet))`.

    Where the console is too narrow the columns go on in further tables below, each with the labels and the marks; no
    number is cut. Labels are never read as rich's own markup.
    """

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sheet, texts = self.sheet, [line.texts for line in (*self.sheet.lines, *self.sheet.references)]
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
            yield self._part([0, *group, *last], widths, options.max_width)
        yield from map(Text, (*sheet.notes, *sheet.lead))

    def _part(self, places: list[int], widths: list[int], room: int) -> TerminalTable:
        """The table of these columns: as wide as they like where there is room, else each with its own width, since
        rich would take the widest ones' from their neighbours.
        """
        table = TerminalTable()
        sides, headings = _aligned(self.sheet), Line(tuple(self.sheet.headings))
        every = [headings, *self.sheet.lines, *self.sheet.references]
        tight = sum(max(len(line.texts[at]) for line in every) + 3 for at in places) + 1 > room
        for place in places:
            heading = Text(self.sheet.headings[place])
            width = widths[place]
            table.add_column(
                heading, justify=sides[place], min_width=width, width=width if tight else None, overflow="fold"
            )
        for lines in (self.sheet.lines, self.sheet.references):
            table.add_section()
            for line in lines:
                table.add_row(*(Text(line.texts[at], style="bold" if at in line.bold else "") for at in places))
        return table


def _aligned(sheet: Sheet) -> list[Literal["left", "right"]]:
    """The side of each column: words to the left, numbers to the right."""
    return ["left" if heading in ("label", "seeds", "marks") else "right" for heading in sheet.headings]


def file_name(dataset: str, taken: set[str]) -> str:
    """A name for the dataset's files that any file system takes, and that is not among the `taken` ones; it joins them.

    >>> file_name("linear-gaussian(dimensions=8)", set())
    'linear-gaussian-dimensions-8'
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", dataset).strip("-.")[:100] or "dataset"
    name, count = plain, 1
    while name.casefold() in taken:
        count += 1
        name = f"{plain}-{count}"
    taken.add(name.casefold())
    return name
