"""The Python cells of a page, run in their order: their output and pictures follow them when the site is built.

`tests/docs/test_cells.py` runs the same cells, so that a page whose mathematics is wrong fails the tests, too.
"""

import contextlib
import html
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt

CELL = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INK = "#010203"
"""Stands for the colour of the page's text, which is light or dark."""
STYLE: dict[str, Any] = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.prop_cycle": matplotlib.cycler(color=["#2f7fd6", "#e0752d", "#2fa37c", "#b45fc4", "#c9a227"]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.figsize": (7.2, 2.9),
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "savefig.transparent": True,
    "svg.hashsalt": "vaezoo",
}


@dataclass
class Cell:
    """A cell that ran: its source, what it printed, and each picture as SVG with the line of text that describes it."""

    source: str
    printed: str
    pictures: list[tuple[str, str]]


def run(page: str) -> Iterator[Cell]:
    """Run a page's cells in one namespace. An error leaves as the cell raised it."""
    namespace: dict[str, Any] = {"__name__": "cells"}
    plt.close("all")
    with matplotlib.rc_context(STYLE):
        for number, source in enumerate(CELL.findall(page), 1):
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(source, f"<cell {number}>", "exec"), namespace)
            pictures = [_svg(plt.figure(each)) for each in plt.get_fignums()]
            plt.close("all")
            yield Cell(source, printed.getvalue(), pictures)


def _svg(figure: Any) -> tuple[str, str]:
    """The picture, whose text has the page's colour, and the titles of its panels in one line."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    titles = "; ".join(filter(None, [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]))
    return text.getvalue()[text.getvalue().index("<svg") :].replace(INK, "currentColor"), titles


def with_output(page: str) -> str:
    """The page, with what each cell printed and drew after it."""
    cells = run(page)

    def shown(match: re.Match[str]) -> str:
        cell = next(cells)
        printed = f"\n\n```{{ .text .printed }}\n{cell.printed.rstrip()}\n```" if cell.printed.strip() else ""
        drawn = "".join(f"\n\n{_figure(svg, titles)}" for svg, titles in cell.pictures)
        return match[0] + printed + drawn

    return CELL.sub(shown, page)


def _figure(svg: str, titles: str) -> str:
    label = html.escape(re.sub(r"[$\\{}]", "", titles))
    inline = re.sub(r"\n\s*", " ", svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))
    return f'<figure class="drawn">{inline}</figure>'
