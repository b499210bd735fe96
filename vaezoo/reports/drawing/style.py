"""How vaezoo's figures look, and how they become PNG files. No figure depends on a user's matplotlibrc or on pyplot."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaezoo.core.visible_text import one_line, visible

DPI = 100
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C8C8C", "#332288")
"""Lines. Okabe and Ito's colours, which the colour-blind can tell apart, a grey and a dark blue."""
CLASSES = (
    *("#332288", "#88CCEE", "#44AA99", "#117733", "#999933"),
    *("#DDCC77", "#CC6677", "#882255", "#AA4499", "#6E6E6E"),
)
"""Points by class. Paul Tol's muted colours, which the colour-blind can tell apart."""
DASHES = ("-", "--", ":", "-.")
INK, FAINT = "#222222", "#6B6B6B"
_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "auto",
    "savefig.bbox": None,
    "svg.hashsalt": "vaezoo",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Make and save figures in vaezoo's style inside."""
    given: dict[str, Any] = {name: each for name, each in matplotlib.rcParamsDefault.items() if "backend" not in name}
    with matplotlib.rc_context(given | _STYLE):  # type: ignore[arg-type]
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in pixels."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def shown(text: str) -> str:
    """A text that users or plugins gave as one line of visible characters. matplotlib is told that it is no formula."""
    return one_line(visible(text))


def png_of(figure: Figure, source: str = "") -> bytes:
    """The figure as a PNG file, the same bytes each time. source: a text that the file keeps."""
    file = io.BytesIO()
    with house_style(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label's character that the font lacks shows as a box
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None, "Source": source})
    return file.getvalue()
