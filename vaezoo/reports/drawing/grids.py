"""Figures of images: samples, reconstructions, interpolations and traversals. Images are uint8 [..., H, W, C]."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vaezoo.reports.drawing.style import FAINT, house_style, new_figure, shown

SIDE = 56
"""Pixels that a small image is enlarged to."""
GAP, MARGIN, LINE = 3, 14, 17
"""Pixels between images, around the figure, and of a line of text."""
PER_ROW = 16
"""Images in a row of samples, at most."""


def mosaic(images: np.ndarray, scale: int, blocks: int = 1) -> np.ndarray:
    """Rows of images on white, each enlarged. [rows, columns, H, W, C] -> uint8 [height, width, 3]

    blocks: so many rows belong together; between blocks the gap is wider.
    """
    rows, columns = images.shape[:2]
    large = images.repeat(scale, 2).repeat(scale, 3)
    height, width = large.shape[2:4]
    wider = [3 * GAP * (row // blocks) if blocks > 1 else 0 for row in range(rows)]
    found = np.full((rows * (height + GAP) - GAP + wider[-1], columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + GAP) + wider[row], column * (width + GAP)
            found[top : top + height, left : left + width] = large[row, column]
    return found


def scale_of(images: np.ndarray) -> int:
    """How many times an image is enlarged, a whole number."""
    return max(1, round(SIDE / int(max(images.shape[-3:-1]))))


def grid(
    images: np.ndarray,
    caption: Sequence[str],
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    blocks: int = 1,
) -> Figure:
    """A figure of rows of images without axes. images: [rows, columns, H, W, C]. caption: a title, and the lines below
    it. rows, columns: the texts beside the rows and above the columns.
    """
    scale = scale_of(images)
    pixels = mosaic(images, scale, blocks)
    step = images.shape[-3] * scale + GAP
    side = max((7 * len(text) + 10 for text in rows), default=0)
    title, *lines = caption
    wide = max(pixels.shape[1] + side, 7 * max(map(len, caption)))
    head = LINE * (len(caption) + bool(columns)) + 10
    width, height = wide + 2 * MARGIN, pixels.shape[0] + head + 2 * MARGIN
    with house_style():
        figure = new_figure(width, height)
        place = ((MARGIN + side) / width, MARGIN / height, pixels.shape[1] / width, pixels.shape[0] / height)
        axes = figure.add_axes(place)
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        top = 1 - MARGIN / height
        figure.text(MARGIN / width, top, shown(title), size=10, weight="bold", va="top", parse_math=False)
        for number, line in enumerate(lines, start=1):
            y = top - number * LINE / height
            figure.text(MARGIN / width, y, shown(line), size=8.5, color=FAINT, va="top", parse_math=False)
        above = images.shape[-2] * scale + GAP
        for number, text in enumerate(columns):
            x = number * above + (above - GAP) / 2
            axes.text(x, -5, text, size=8, color=FAINT, ha="center", va="bottom", parse_math=False)
        for number, text in enumerate(rows):
            extra = 3 * GAP * (number // blocks) if blocks > 1 else 0
            y = number * step + extra + (step - GAP) / 2
            axes.text(-8, y, text, size=8, color=FAINT, ha="right", va="center", parse_math=False)
    return figure


def samples(images: np.ndarray, title: str = "Samples", pixel_by_pixel: bool = False) -> Figure:
    """Samples, one row after the other. images: [n, H, W, C]"""
    columns = min(PER_ROW, len(images))
    kept = images[: len(images) // columns * columns]
    meaning = "the decoder's mean E[x|z] of z drawn from the prior p(z)"
    if pixel_by_pixel:
        meaning = "the decoder's mean of each pixel given drawn ones, z from the prior p(z)"
    return grid(kept.reshape(-1, columns, *images.shape[1:]), (title, f"Samples: {meaning}"))


def reconstructions(originals: np.ndarray, found: np.ndarray, title: str = "Reconstructions") -> Figure:
    """Images above their reconstructions. Both [n, H, W, C]"""
    columns = min(10, len(originals))
    kept = len(originals) // columns * columns
    pairs = np.stack([each[:kept].reshape(-1, columns, *each.shape[1:]) for each in (originals, found)], 1)
    rows = ["test image", "E[x|z]"] * len(pairs)
    caption = (title, "Reconstructions: the decoder's mean E[x|z] of z drawn from q(z|x)")
    return grid(pairs.reshape(-1, *pairs.shape[2:]), caption, rows=rows, blocks=2)


def interpolations(images: np.ndarray, title: str = "Interpolations") -> Figure:
    """A row for each pair of images. images: [rows, steps, H, W, C]"""
    return grid(images, (title, "Interpolations: the decoder's mean E[x|z] between the latents of two test images"))


def traversals(
    images: np.ndarray, dims: Sequence[int], values: Sequence[float], title: str = "Latent traversals"
) -> Figure:
    """A row for each dimension. images: [dims, values, H, W, C]. values: shares of the aggregate posterior."""
    lines = (
        "Traversals: the decoder's mean E[x|z] where one dimension moves",
        "over its quantiles in the aggregate posterior, most active first",
    )
    columns = [f"{100 * value:.0f} %" for value in values]
    return grid(images, (title, *lines), rows=[f"z[{dim}]" for dim in dims], columns=columns)
