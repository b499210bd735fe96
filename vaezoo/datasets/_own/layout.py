"""The order of axes: from images as a file has them to images [N, C, H, W] or [N, D]."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Array, Moved, Part

COLOURS = (1, 2, 3, 4)
"""Lengths of an axis that may be that of the colours."""


@dataclass(frozen=True)
class Layout:
    """How one image is turned round. letters: the axes of an image in the file, without N, or None to leave them.

    shape: of one image in the file, after its pixels are put into it.
    """

    letters: str | None
    shape: tuple[int, ...]
    transpose: bool = False

    def __call__(self, images: Array) -> Array:
        """[n, ...] as the file has them -> [n, C, H, W], [n, D], or as they are."""
        images = images.reshape(len(images), *self.shape)
        if self.letters is None:
            return images
        order = [letter for letter in "CHWD" if letter in self.letters]
        if self.transpose:
            order = [{"H": "W", "W": "H"}.get(letter, letter) for letter in order]
        images = images.transpose(0, *(1 + self.letters.index(letter) for letter in order))
        return images[:, None] if self.letters in ("HW", "WH") else images

    @property
    def result(self) -> tuple[int, ...]:
        """The shape of an image afterwards."""
        return tuple(self(np.empty((0, *self.shape), np.uint8)).shape[1:])

    @property
    def identity(self) -> bool:
        """Whether the values stay in their order."""
        return not self.transpose and self.letters in (None, "HW", "CHW", "D")


def along_images(part: Part, letters: str | None) -> Part:
    """The part with the axis of the images first."""
    if letters is None or letters.find("N") <= 0:
        return part
    checked_letters(letters, len(part.x.shape), part)
    return replace(part, x=Moved(part.x, letters.index("N")))


def layout_of(part: Part, options: OwnOptions) -> Layout:
    """The layout of a part whose images are on the first axis. Raises VaezooError where the axes are not clear."""
    raw = tuple(int(size) for size in part.x.shape[1:])
    letters = None if options.layout is None else options.layout.upper().replace("N", "")
    if options.shape is not None:
        if any(size < 1 for size in options.shape):
            raise VaezooError(f"shape must be sizes of 1 or more, got {list(options.shape)}")
        if math.prod(options.shape) != math.prod(raw):
            raise VaezooError(
                f"shape = {list(options.shape)} has {math.prod(options.shape)} pixels; each image of {part.source} "
                f"has {math.prod(raw)}, as {list(raw)}"
            )
        raw = tuple(options.shape)
    elif letters is not None:
        checked_letters(letters, len(raw), part, f"an image of {part.source}")
    if letters is None:
        letters = _usual(raw, part, options.shape is not None)
    elif len(letters) != len(raw):
        raise VaezooError(
            f"layout = {options.layout!r} names {len(letters)} axes; an image of shape {list(raw)} has {len(raw)}"
        )
    checked_letters(letters or "D", len(letters or "D"), part)
    if options.transpose and not {"H", "W"} <= set(letters or ""):
        raise VaezooError(
            f"transpose swaps height and width; images of {part.source} are {list(raw)}: say shape = [height, width]"
        )
    if options.transpose and options.shape is not None and letters is not None:
        raw = tuple(raw[letters.index({"H": "W", "W": "H"}.get(letter, letter))] for letter in letters)
    return Layout(letters, raw, options.transpose)


def _usual(raw: Sequence[int], part: Part, shaped: bool) -> str | None:
    """The axes of an image where no layout is given: D, HW or CHW. shaped: whether the shape was given."""
    if len(raw) == 1:
        return "D"
    if len(raw) == 2:
        return "HW"
    if len(raw) == 3:
        if raw[2] in COLOURS and raw[0] not in COLOURS:
            what = "shape =" if shaped else f"images of {part.source} are"
            raise VaezooError(f"{what} {list(raw)}: say layout = 'HWC' (colours last) or 'CHW'")
        return "CHW"
    return None


def checked_letters(letters: str, axes: int, part: Part, what: str | None = None) -> None:
    """Raise VaezooError for letters that are unknown, stand twice, or are too few or too many."""
    known, text = set(letters) <= set("NHWCD"), letters
    pairs = ("H" in letters) == ("W" in letters) and not ("D" in letters and {"H", "W", "C"} & set(letters))
    if not known or len(set(letters)) != len(letters) or not pairs:
        raise VaezooError(
            f"layout {text!r} must be of the letters H, W and C, or D, and N; for example HWC, HWCN or DN"
        )
    if len(letters) != axes:
        what = what or part.source
        raise VaezooError(f"layout {text!r} names {len(letters)} axes, {what} has {axes}: {list(part.x.shape)}")
