"""From the values of a file to those that a measure allows: levels, 0/1, counts or floats; one line for a wrong one."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.layout import Layout
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Array, Part, Parts

GRAY = 255
NEAR = 0.02
"""How far k / (levels - 1) may be from its level k, in levels."""
LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Range:
    """The least and the largest value of all parts, and whether all are whole numbers."""

    low: float
    high: float
    whole: bool

    def advice(self) -> str:
        """The measure that fits these values."""
        if not self.whole:
            return 'measure = "continuous"'
        if self.low >= 0 and self.high <= 1:
            return 'measure = "binary"'
        if self.low >= 0 and self.high <= GRAY:
            return f'measure = "discrete" with levels = {max(2, int(self.high) + 1)} (256 for gray), or "counts"'
        return 'measure = "counts"' if self.low >= 0 else 'measure = "continuous"'

    def remarks(self, options: OwnOptions, source: str) -> list[str]:
        """A line where discrete images use less than half of their levels."""
        if options.measure != "discrete" or options.levels is None or not self.whole:
            return []
        if self.high >= (options.levels - 1) / 2:
            return []
        return [
            f"{source}: the largest value is {self.high:g} of levels 0..{options.levels - 1}; say levels = "
            f"{int(self.high) + 1} if that is white"
        ]

    def __str__(self) -> str:
        return f"{'whole numbers ' if self.whole else ''}{self.low:g}..{self.high:g}"


def value_range(parts: Parts) -> Range:
    """The range of all values. Raises VaezooError, which names the image, for NaN and infinity."""
    low, high, whole = np.inf, -np.inf, True
    for part in parts.values():
        for start, block in part.blocks():
            if block.dtype.kind == "f":
                refuse_rows(part, start, ~np.isfinite(block), block, "is not finite; fill it in or remove the image")
                whole = whole and bool((block == np.round(block)).all())
            if block.size:
                low, high = min(low, float(block.min())), max(high, float(block.max()))
    return Range(low, high, whole)


def refuse_rows(part: Part, start: int, wrong: Array, block: Array, said: str) -> None:
    """Raise VaezooError, which names the first image with a wrong value, and how many there are in this block."""
    rows = np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))
    if len(rows) == 0:
        return
    place = tuple(int(each[0]) for each in wrong[rows[0]].nonzero()) if wrong.ndim > 1 else ()
    value = block[(int(rows[0]), *place)]
    where = f" at {list(place)}" if place else ""
    raise VaezooError(f"{part.place(start + int(rows[0]))}: {value:g}{where} {said}")


@dataclass(frozen=True)
class Conversion:
    """What is done to the values of each image.

    kind: `gray` (to 0..255, for a later draw), `threshold`, `levels`, `counts`, `binary` or `continuous`. top: the
    largest value of the result, None where there is none. scale: what values are multiplied by first. dtype: of the
    result.
    """

    kind: Literal["gray", "threshold", "levels", "counts", "binary", "continuous"]
    layout: Layout
    dtype: str
    top: int | None = None
    scale: float = 1
    threshold: float = 0.0
    invert: bool = False

    def identity(self, dtype: np.dtype[np.generic]) -> bool:
        """Whether images of this dtype stay as they are, byte for byte."""
        plain = self.scale == 1 and not self.invert and self.kind != "threshold"
        return plain and self.layout.identity and np.dtype(dtype) == np.dtype(self.dtype)

    def __call__(self, part: Part, start: int, block: Array) -> Array:
        """The images of a block, which begins at this row of the part. Raises VaezooError for a wrong value."""
        x = self.layout(block)
        if self.kind == "continuous":
            with np.errstate(over="ignore"):
                x = x.astype(self.dtype)
            refuse_rows(part, start, ~np.isfinite(x), x, "is too large for float32; divide the values")
        elif self.kind == "threshold":
            x = (x >= self.threshold).astype(self.dtype)
        else:
            x = self._whole(part, start, x)
        if self.invert and self.top is not None:
            x = (self.top - x).astype(self.dtype)
        return x

    def _whole(self, part: Part, start: int, x: Array) -> Array:
        top = LARGEST if self.top is None else self.top
        if self.scale != 1 and x.dtype.kind in "biu":
            x = x.astype(np.int64)
        scaled = x * self.scale if self.scale != 1 else x
        if scaled.dtype.kind == "f":
            rounded = np.round(scaled)
            if self.kind != "gray":
                wrong = np.abs(scaled - rounded) > (NEAR if self.scale != 1 else 0)
                refuse_rows(part, start, wrong, x, f"is not a whole number; {self._advice()}")
            scaled = rounded
        outside = (scaled > top) if scaled.dtype.kind in "bu" else (scaled < 0) | (scaled > top)
        refuse_rows(part, start, outside, x, f"is outside 0..{top / self.scale:g}; {self._advice()}")
        return scaled.astype(self.dtype)

    def _advice(self) -> str:
        if self.kind == "binary":
            return 'gray images are measure = "discrete" with levels = 256, or say binarise = "dynamic" or a threshold'
        if self.kind == "levels":
            return 'levels = L takes whole numbers 0..L - 1 or k / (L - 1), measure = "continuous" any number'
        if self.kind == "gray":
            return "binarise takes gray levels 0..255, or probabilities 0..1; or give a threshold"
        return 'counts are whole numbers from 0 on; measure = "continuous" takes any number'


def conversion(options: OwnOptions, found: Range, layout: Layout, source: str) -> Conversion:
    """What the options ask for, where the values allow it. Raises VaezooError where they contradict each other."""
    _refuse_contradictions(options, found, source)
    _refuse_scale(options, found, source)
    if options.binarise is not None:
        if isinstance(options.binarise, str):
            white = 1 if found.high <= 1 else GRAY if options.levels is None else options.levels - 1
            scale = 1 if white == GRAY else GRAY / white
            return Conversion("gray", layout, "uint8", GRAY, scale, invert=options.invert)
        return Conversion("threshold", layout, "uint8", 1, 1, options.binarise, options.invert)
    if options.measure == "binary":
        return Conversion("binary", layout, "uint8", 1, invert=options.invert)
    if options.measure == "counts":
        return Conversion("counts", layout, "uint8" if found.high <= GRAY else "int32")
    if options.measure == "discrete" or options.dequantise:
        assert options.levels is not None
        top = options.levels - 1
        scale = top if found.high <= 1 and not found.whole else 1
        return Conversion("levels", layout, "uint8" if top <= GRAY else "int32", top, scale, invert=options.invert)
    if options.invert and not (found.low >= 0 and found.high <= 1):
        raise VaezooError(f"invert gives 1 - x of continuous images in 0..1; those of {source} are {found}")
    return Conversion("continuous", layout, "float32", 1 if options.invert else None, invert=options.invert)


def _refuse_scale(options: OwnOptions, found: Range, source: str) -> None:
    """Raise VaezooError where the values' range is not what a binarisation or the levels take."""
    how = options.binarise
    if isinstance(how, str) and options.levels is None and 1 < found.high < GRAY // 2:
        raise VaezooError(
            f"binarise = {how!r} takes gray levels 0..255 or probabilities 0..1, and the values of {source} are "
            f"{found}: say levels = {math.ceil(found.high) + 1} where {found.high:g} is white, 256 where 255 is"
        )
    if how is not None and not isinstance(how, str):
        if not found.low < how <= found.high:
            every = f"every pixel {0 if how > found.high else 1}"
            raise VaezooError(f"binarise = {how:g} makes {every}, for the values of {source} are {found}; say another")
        if found.whole and found.high > 1 and how < 1:
            raise VaezooError(
                f"binarise = {how:g} makes every pixel 1 that is not 0, for the values of {source} are {found}: say 1 "
                f"if you mean that, or for example {(found.high + 1) // 2:g}"
            )
    levels = options.levels or 2
    if (
        (options.measure == "discrete" or options.dequantise)
        and found.whole
        and 0 <= found.low <= found.high <= 1 < levels - 1
    ):
        raise VaezooError(
            f"{source} holds 0 and 1 alone, which may be levels or black and white: say measure = 'binary', or "
            f"levels = 2, or multiply the values by {levels - 1}"
        )


def _refuse_contradictions(options: OwnOptions, found: Range, source: str) -> None:
    if options.binarise is not None and options.measure not in (None, "binary"):
        raise VaezooError(f"binarise makes images binary, got measure = {options.measure!r}; leave one of them out")
    if options.measure is None and options.binarise is None:
        raise VaezooError(f"say what the values of {source} are, which are {found}: {found.advice()}")
    if options.measure == "discrete" and options.levels is None:
        raise VaezooError(
            f"discrete images need levels, one more than the largest: levels = {max(2, int(found.high) + 1)} for the "
            f"values of {source}, {found} (256 for gray)"
        )
    if options.levels is not None and options.levels < 2:
        raise VaezooError(f"levels must be 2 or more, got {options.levels}")
    if options.dequantise and (options.measure != "continuous" or options.levels is None or options.standardise):
        raise VaezooError(
            "dequantise makes images of levels continuous: say measure = 'continuous' and levels, without standardise"
        )
    drawn = isinstance(options.binarise, str)
    if options.levels is not None and options.measure not in ("discrete", "continuous") and not drawn:
        raise VaezooError(f"levels = {options.levels} belong to measure = 'discrete', got {options.measure!r}")
    if options.standardise and options.measure != "continuous":
        raise VaezooError(f"standardise makes images continuous, got measure = {options.measure!r}; say 'continuous'")
    if options.standardise and options.levels is not None:
        raise VaezooError("standardised images have no levels; leave levels out")
    if options.invert and options.measure == "counts":
        raise VaezooError("counts cannot be inverted; leave invert out")
