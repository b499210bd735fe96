"""Charts: the latent map, learning curves, and quality against speed."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaezoo.core.columns import QUALITY, TIMED
from vaezoo.core.errors import VaezooError
from vaezoo.reports.drawing.style import CLASSES, COLOURS, DASHES, FAINT, house_style, new_figure, shown
from vaezoo.reports.ranking import rank
from vaezoo.reports.rows import dataset_rows
from vaezoo.reports.search import searches
from vaezoo.reports.statistics import Summary, summarise

if TYPE_CHECKING:
    import pandas as pd

IWLL = next(column for column in QUALITY if column.name == "iwll")
SPEED = next(column for column in TIMED if column.name == "train_images_per_second")


def latent_map(
    points: np.ndarray, labels: np.ndarray | None = None, method: str = "z", title: str = "Latent map"
) -> Figure:
    """Test images as points of the plane, coloured by label. points: [n, 2], labels: [n]"""
    x, y = points.T
    with house_style():
        figure = new_figure(580, 540)
        axes = figure.add_axes((0.12, 0.09, 0.84, 0.79))
        kinds = np.unique(labels) if labels is not None else np.zeros(0)
        if labels is None:
            axes.scatter(x, y, s=7, c=COLOURS[0], alpha=0.6, linewidths=0)
        elif len(kinds) > len(CLASSES):
            colours = axes.scatter(x, y, s=7, c=labels, cmap="viridis", alpha=0.75, linewidths=0)
            figure.colorbar(colours, ax=axes, label="label", fraction=0.04, pad=0.02)
        else:
            for kind, colour in zip(kinds, CLASSES, strict=False):
                axes.scatter(x[labels == kind], y[labels == kind], s=7, c=colour, alpha=0.75, linewidths=0)
            for kind, colour in zip(kinds, CLASSES, strict=False):
                across, up = np.median(points[labels == kind], 0)
                name = axes.text(across, up, str(kind), size=13, weight="bold", color=colour, ha="center", va="center")
                name.set_path_effects([patheffects.withStroke(linewidth=3, foreground="white")])
        names = ("z[0]", "z[1]") if method == "z" else ("1st component", "2nd component")
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[1])
        axes.set_aspect("equal", "datalim")
        means = "posterior means" if method == "z" else "principal components of the posterior means"
        coloured = "" if labels is None else ", by label"
        _captioned(figure, title, f"Latent map: {means} of {len(points):,} test images{coloured}")
    return figure


def _captioned(figure: Figure, title: str, line: str) -> None:
    width, height = figure.get_size_inches() * figure.dpi
    x = 14 / width
    figure.text(x, 1 - 12 / height, shown(title), size=10, weight="bold", va="top", parse_math=False)
    figure.text(x, 1 - 30 / height, shown(line), size=8.5, color=FAINT, va="top", parse_math=False)


def curves(history: "pd.DataFrame", title: str = "Learning curves") -> Figure:
    """The validation iwll of each row after each epoch and against the seconds of training.

    history: as `vaezoo.read_history` gives it, of one data set. A line is the mean over the seeds, its band reaches
    from the least to the largest. Raises VaezooError where there is no epoch.
    """
    found = history.dropna(subset=["validation_iwll"])
    if found.empty:
        raise VaezooError("the history has no epoch with a validation iwll; run a matrix first")
    labels = list(dict.fromkeys(found["label"]))
    with house_style():
        figure = new_figure(980, 440)
        panels = figure.subplots(1, 2, sharey=True)
        lowest, highest = [], []
        for number, label in enumerate(labels):
            epochs = found[found["label"] == label].groupby("epoch")
            mean, low, high = (epochs["validation_iwll"].agg(each).to_numpy(float) for each in ("mean", "min", "max"))
            colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
            marker = "o" if len(mean) == 1 else ""
            for axes, x in zip(panels, (list(epochs.groups), epochs["seconds"].mean().to_numpy(float)), strict=True):
                axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
                axes.plot(x, mean, dashes, color=colour, marker=marker, linewidth=1.5, label=shown(label))
            lowest.append(float(np.quantile(mean, 0.1)))
            highest.append(float(high.max()))
        _fit(panels[0], min(lowest), max(highest))
        panels[0].set_ylabel("validation iwll (nats)")
        panels[0].set_xlabel("epoch")
        panels[1].set_xlabel("seconds of training")
        _legend(figure, panels[0], [shown(label) for label in labels])
        _captioned(
            figure, title, "Learning curves: the mean over the seeds, with a band from the least to the largest seed"
        )
    return figure


def _fit(axes: Axes, low: float, high: float) -> None:
    """Show these values; the first epochs may lie far below."""
    if math.isfinite(low) and math.isfinite(high):
        room = 0.08 * (high - low) or 1.0
        axes.set_ylim(low - room, high + room)


def _legend(figure: Figure, axes: Axes, labels: Sequence[str]) -> None:
    """The names of the lines, to the right of the panels. A label is no formula, and may begin with an underscore."""
    numbers = [str(number) for number in range(len(labels))]
    legend = figure.legend(axes.lines, numbers, loc="center left", bbox_to_anchor=(0.77, 0.5), fontsize=8)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_parse_math(False)
        text.set_text(label)
    figure.subplots_adjust(left=0.08, right=0.76, bottom=0.12, top=0.85, wspace=0.08)


def quality_speed(results: "pd.DataFrame", title: str = "Quality against speed") -> Figure:
    """The test iwll of each row against its training images a second, with the Pareto front of the rows that are ranked
    together and were timed on one device: none of them is both better and faster than one of the front.

    results: as `vaezoo.read_results` gives it, of one data set. An interval is the 95 % Student interval of the mean
    over seeds, of two seeds their range. Raises VaezooError where no row has both numbers.
    """
    alike = _measured_alike(results)
    rows: list[tuple[str, float, Summary]] = []
    for label, own in results.groupby("label", sort=False):
        speed, quality = own["train_images_per_second"].median(), summarise(own["iwll"])
        if math.isfinite(speed) and math.isfinite(quality.mean):
            rows.append((shown(str(label)), float(speed), quality))
    if not rows:
        raise VaezooError("no row has both an iwll and train images/s; run the matrix with throughput = true")
    with house_style():
        figure = new_figure(760, 520)
        axes = figure.add_axes((0.11, 0.11, 0.85, 0.74))
        able = [place for place, (label, _, _) in enumerate(rows) if label in alike]
        front = [able[place] for place in pareto([(rows[place][1], rows[place][2].mean) for place in able])]
        on_front = sorted((rows[place][1], rows[place][2].mean) for place in front)
        axes.plot(*zip(*on_front, strict=True), "--", color="#999999", linewidth=1, zorder=1)
        for number, (label, speed, quality) in enumerate(rows):
            colour = COLOURS[number % len(COLOURS)]
            error = [[quality.mean - quality.low], [quality.high - quality.mean]]
            filled = colour if number in front else "white"
            axes.errorbar(
                speed, quality.mean, error, fmt="o", color=colour, markerfacecolor=filled, capsize=3, linewidth=1.2
            )
            side = (7, 5) if number % 2 else (7, -11)
            axes.annotate(
                label, (speed, quality.mean), side, textcoords="offset points", size=8, color=colour, parse_math=False
            )
        axes.set_xscale("log")
        axes.margins(x=0.15, y=0.12)
        axes.set_xlabel("training images a second")
        axes.set_ylabel("test iwll (nats)")
        _captioned(
            figure,
            title,
            "Quality against speed: the Pareto front of rows measured alike is filled; bars are 95 % intervals (of two "
            "seeds, their range)",
        )
    return figure


def _measured_alike(results: "pd.DataFrame") -> set[str]:
    """The labels, as they are shown, of the rows that are ranked together and timed on the device that most of them
    share; all labels where no two rows are ranked together, or the frame does not say how rows were measured.
    """
    if not {"dataset", "status"} <= set(results.columns):
        return {shown(str(label)) for label in results["label"]}
    [(_, rows)] = dataset_rows(results, [IWLL, SPEED])
    hidden = searches(rows).searched
    ranked = rank([row for row in rows if row not in hidden], [IWLL, SPEED]).ranked or frozenset(rows)
    devices = Counter(row.facts.get("device") for row in rows if row in ranked)
    common = max(devices, key=devices.__getitem__)
    return {shown(row.label) for row in rows if row in ranked and row.facts.get("device") == common}


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the points that no other one is at least as large as in both coordinates, and larger in one."""
    return [
        place
        for place, (x, y) in enumerate(points)
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points)
    ]
