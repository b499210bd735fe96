"""A figure for a paper from a results folder: log-likelihood of each row with its seeds, and quality against speed.

    python examples/paper_figure.py results/mnist figure.pdf

needs matplotlib. `vaezoo.read_results` returns one row a cell; what one cell measured is one line of pandas away.
"""

import sys
from pathlib import Path

import matplotlib
import pandas as pd

import vaezoo

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """The mean iwll over the seeds, the lowest and the highest seed, and the speed of each row; the best row last."""
    ok = frame[frame.status == "ok"]
    table = ok.groupby("label").agg(
        mean=("iwll", "mean"),
        low=("iwll", "min"),
        high=("iwll", "max"),
        seeds=("seed", "nunique"),
        speed=("train_images_per_second", "first"),
    )
    return table.sort_values("mean")


def figure(table: pd.DataFrame, samples: int) -> Figure:
    """Two panels for the width of a page. samples: the number of importance samples, which belongs beside any iwll."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(7, 2.4), layout="constrained")
    left.hlines(table.index, table.low, table.high, color="0.6")
    left.plot(table["mean"], table.index, "o", color="C0")
    left.set(xlabel=f"log p(x) ≥ iwll, K = {samples:,} (nats)")
    for number, (label, row) in enumerate(table[::-1].iterrows()):
        right.plot(row.speed, row["mean"], "osD^vPX*"[number % 8], color=f"C{number % 10}", label=label)
    right.set(xscale="log", xlabel="training images a second", ylabel="iwll (nats)")
    right.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="small")
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="x", alpha=0.3)
    return drawn


def main(folder: Path, file: Path) -> None:
    """Draw the first data set of a results folder. Prints what a caption has to say."""
    frame = vaezoo.read_results(folder)
    frame = frame[frame.dataset == frame.dataset.iloc[0]]
    table, cell = summary(frame), frame.iloc[0]
    figure(table, cell.importance_samples).savefig(file)
    print(
        f"{cell.dataset}: mean and range of {table.seeds.min()} seeds, {cell.images:,} test images, "
        f"K = {cell.importance_samples:,}; checksum {cell.checksum[:12]}"
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/paper_figure.py RESULTS_FOLDER FILE.pdf")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
