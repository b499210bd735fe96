"""Pictures of a row as PNG grids at their own resolution, inside the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

LARGEST = 160
"""The most images that one grid shows."""
MAP_SIDE = 360
"""The side of a latent map, in pixels."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#a5aa99", "#8c564b", "#4b4b8f")
"""A colour for each label; the eleventh has the first one's."""


@dataclass(frozen=True)
class Picture:
    """One picture: its name, what it shows in words, its size on the screen, and the PNG as text. legend: (label,
    colour) each.
    """

    name: str
    alt: str
    caption: str
    width: int
    height: int
    png: str
    legend: tuple[tuple[str, str], ...] = ()
    is_pixels: bool = True


def grid(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Images [n, H, W, C] in rows of `columns`, with `gap` transparent pixels between them: [H', W', C + 1]."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    canvas = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels + 1), np.uint8)
    for place, image in enumerate(images):
        top, left = (place // columns) * (height + gap), (place % columns) * (width + gap)
        canvas[top : top + height, left : left + width, :channels] = image
        canvas[top : top + height, left : left + width, channels] = 255
    return canvas


def png(pixels: np.ndarray) -> str:
    """Pixels [H, W, 1 to 4] as a PNG in base 64; the same bytes for the same pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def pictures_of(arrays: Mapping[str, np.ndarray | str | None], label: str) -> list[Picture]:
    """The pictures of the arrays that `figures/STEM.npz` holds, in the order of the page."""
    found = []
    samples, values = _images(arrays, "samples"), _images(arrays, "reconstructions")
    if samples is not None:
        count = min(len(samples), 64)
        side = min(8, count)
        found.append(_picture("Samples", samples[:count], side, label, f"{count} samples from the prior, E[x|z]"))
    originals = _images(arrays, "originals")
    if values is not None and originals is not None:
        count = min(len(values), len(originals), 32)
        side = min(8, count)
        pairs = _in_pairs(originals[:count], values[:count], side)
        told = "test images, each row above its reconstructions"
        found.append(_picture("Reconstructions", pairs, side, label, f"{count} {told}"))
    for name, told in (
        ("interpolations", "from one test image to another through the latent space, a pair each row"),
        ("traversals", "one latent dimension each row, from its lowest value to its highest"),
    ):
        block = arrays.get(name)
        if isinstance(block, np.ndarray) and block.ndim == 5 and block.size:
            rows = block[: max(1, LARGEST // block.shape[1])]
            found.append(_picture(name.capitalize(), rows.reshape(-1, *rows.shape[2:]), rows.shape[1], label, told))
    latent = arrays.get("latent")
    if isinstance(latent, np.ndarray) and latent.ndim == 2 and latent.shape[1] == 2 and len(latent):
        labels = arrays.get("latent_labels")
        found.append(latent_map(latent, labels if isinstance(labels, np.ndarray) else None, arrays, label))
    return found


def _images(arrays: Mapping[str, np.ndarray | str | None], name: str) -> np.ndarray | None:
    found = arrays.get(name)
    return found if isinstance(found, np.ndarray) and found.ndim == 4 and found.size else None


def _in_pairs(above: np.ndarray, below: np.ndarray, side: int) -> np.ndarray:
    """Rows of originals, each with the row of reconstructions below it; a last row that is not full is left out."""
    full = len(above) // side * side
    pairs = np.stack(
        [above[:full].reshape(-1, side, *above.shape[1:]), below[:full].reshape(-1, side, *below.shape[1:])], 1
    )
    return pairs.reshape(-1, *above.shape[1:])


def _picture(name: str, images: np.ndarray, columns: int, label: str, told: str) -> Picture:
    pixels = grid(images, columns)
    scale = max(1, round(320 / pixels.shape[1]))
    size = pixels.shape[1] * scale, pixels.shape[0] * scale
    return Picture(name, f"{name} of {label}: {told}", told[:1].upper() + told[1:], *size, png(pixels))


def latent_map(
    latent: np.ndarray, labels: np.ndarray | None, arrays: Mapping[str, np.ndarray | str | None], label: str
) -> Picture:
    """Points [n, 2] on a transparent ground, a colour for each label."""
    method = str(arrays.get("latent_method") or "")
    known: Sequence[int] = [] if labels is None else sorted({int(each) for each in labels})
    colour = {each: COLOURS[place % len(COLOURS)] for place, each in enumerate(known)}
    finite = np.isfinite(latent).all(1)
    points = latent[finite].astype(np.float64)
    low, high = (points.min(0), points.max(0)) if len(points) else (np.zeros(2), np.ones(2))
    scale = (MAP_SIDE - 16) / max(float((high - low).max()), 1e-12)
    middle = (low + high) / 2
    drawn = Image.new("RGBA", (2 * MAP_SIDE, 2 * MAP_SIDE), (127, 127, 127, 0))
    pen = ImageDraw.Draw(drawn)
    shades = [COLOURS[0]] * len(latent) if labels is None else [colour[int(each)] for each in labels]
    radius = 4 if len(points) > 1500 else 6
    for (x, y), shade in zip(points, np.array(shades, dtype=object)[finite], strict=True):
        across, down = MAP_SIDE + 2 * scale * (x - middle[0]), MAP_SIDE - 2 * scale * (y - middle[1])
        pen.ellipse((across - radius, down - radius, across + radius, down + radius), fill=f"{shade}b0")
    small = drawn.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BOX).quantize(64, Image.Quantize.FASTOCTREE)
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    how = "" if method in ("", "z") else f" ({method})"
    told = f"{len(points):,} test images in the latent space{how}" + (", coloured by label" if known else "")
    legend = tuple((str(each), colour[each]) for each in known[:20])
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return Picture(
        "Latent map", f"Latent map of {label}: {told}", told, MAP_SIDE, MAP_SIDE, text, legend, is_pixels=False
    )
