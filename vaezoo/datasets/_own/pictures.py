"""Decodes pictures to one size and one number of colours; one line for a picture that does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.parts import Array
from vaezoo.datasets._own.store import room

MODES = {1: "L", 3: "RGB"}
PLAIN = {"1": 1, "L": 1, "RGB": 3}
"""Colours of a picture that need no choice."""
WORDS = {"LA": "gray and transparent", "RGBA": "transparent", "P": "of a palette", "CMYK": "CMYK"}


def opened(file: Path, folder: Path) -> Any:
    """A decoded picture, turned as its EXIF data say."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        said = " ".join(str(error).split()).replace(str(file), file.name)
        raise VaezooError(
            f"{file.relative_to(folder)} cannot be read as a picture ({said}); replace or remove it"
        ) from None


@dataclass(frozen=True)
class Fit:
    """What every picture becomes. reference: the picture that said so. crop: the side of the middle square that is kept
    first.
    """

    height: int
    width: int
    channels: int
    how: Literal["stretch", "crop", "pad"] | None
    sized: bool
    coloured: bool
    reference: str
    crop: int | None = None

    @classmethod
    def of(cls, file: Path, folder: Path, size: tuple[int, int] | None, how: Any, channels: int | None) -> "Fit":
        """What the options ask for, and else what the first picture is."""
        picture = opened(file, folder)
        height, width = size or (picture.height, picture.width)
        if height < 1 or width < 1:
            raise VaezooError(f"size must be a height and a width of 1 or more, got {[height, width]}")
        name = str(file.relative_to(folder))
        colours = channels or PLAIN.get(picture.mode) or _unclear(picture, name)
        return cls(height, width, colours, how, size is not None, channels is not None, name)

    def __call__(self, file: Path, folder: Path) -> Array:
        """The picture, uint8 [C, H, W]."""
        picture, name = opened(file, folder), str(file.relative_to(folder))
        if picture.mode.startswith(("I", "F")):
            raise VaezooError(f"{name} has more than 8 bits a colour (mode {picture.mode}); save it with 8")
        colours = self.channels if self.coloured else PLAIN.get(picture.mode) or _unclear(picture, name)
        if colours != self.channels:
            raise VaezooError(
                f"{name} has {colours} channel{'s' * (colours > 1)}, {self.reference} {self.channels}: "
                "say channels = 1 (gray) or 3 (colours)"
            )
        if picture.mode != MODES[self.channels]:
            picture = picture.convert(MODES[self.channels])
        if self.crop is not None:
            left, top = (picture.width - self.crop) // 2, (picture.height - self.crop) // 2
            picture = picture.crop((left, top, left + self.crop, top + self.crop))
        if picture.size != (self.width, self.height):
            picture = self._fitted(picture, name)
        image = np.asarray(picture, dtype=np.uint8)
        return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)

    def _fitted(self, picture: Any, name: str) -> Any:
        from PIL import Image, ImageOps

        wanted, box = (self.width, self.height), Image.Resampling.BOX
        if self.how is None:
            like = "size asks for" if self.sized else f"{self.reference} is"
            raise VaezooError(
                f"{name} is {picture.height} x {picture.width}, {like} {self.height} x {self.width} (height x width); "
                f"say size = [{self.height}, {self.width}] and fit = 'stretch', 'crop' or 'pad', or remove it"
            )
        if self.how == "crop":
            return ImageOps.fit(picture, wanted, box)
        return ImageOps.pad(picture, wanted, box) if self.how == "pad" else picture.resize(wanted, box)


def _unclear(picture: Any, name: str) -> int:
    if picture.mode.startswith(("I", "F")):
        raise VaezooError(f"{name} has more than 8 bits a colour (mode {picture.mode}); save it with 8")
    what = WORDS.get(picture.mode, f"of mode {picture.mode}")
    raise VaezooError(f"{name} is {what}: say channels = 1 (gray) or 3 (colours)")


@dataclass(frozen=True)
class Pictures:
    """The pictures of a folder."""

    files: Sequence[Path]
    folder: Path
    fit: Fit


def decoded(pictures: Pictures) -> Array:
    """All pictures, uint8 [N, C, H, W]."""
    fit = pictures.fit
    x = room((len(pictures.files), fit.channels, fit.height, fit.width), "uint8")
    for row, file in enumerate(pictures.files):
        x[row] = fit(file, pictures.folder)
    return x
