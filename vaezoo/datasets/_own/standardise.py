"""Subtracts the training images' mean and divides by their standard deviation, in float64."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.layout import Layout
from vaezoo.datasets._own.parts import Array, Part
from vaezoo.datasets._own.values import Conversion


@dataclass(frozen=True)
class Standardised:
    """A conversion, and then (x - mean) / deviation: computed in float64 and stored as float32, so that large numbers
    that are close to each other, as times are, stay apart.
    """

    convert: Conversion
    mean: Array
    deviation: Array
    dtype: str = "float32"

    @property
    def layout(self) -> Layout:
        """That of the conversion."""
        return self.convert.layout

    def identity(self, dtype: Any) -> bool:
        """False: images do not stay as they are."""
        return False

    def __call__(self, part: Part, start: int, block: Array) -> Array:
        """The images of a block, as of Conversion."""
        found: Array = ((self.convert(part, start, block) - self.mean) / self.deviation).astype(self.dtype)
        return found


def standardised(convert: Conversion, part: Part, rows: Array, *, together: bool) -> Standardised:
    """The conversion that gives these training images mean 0 and standard deviation 1, and changes others alike.

    rows: those of the part that are trained on. together: all pixels by one mean and deviation, else each by its own.
    Raises VaezooError for a pixel or column that is constant in training.
    """
    exact = replace(convert, dtype="float64")
    chosen = np.zeros(len(part), dtype=bool)
    chosen[rows] = True
    mean = _mean(exact, part, chosen, np.zeros(()), power=1, together=together)
    variance = _mean(exact, part, chosen, mean, power=2, together=together)
    constant = np.ravel(variance == 0)
    if constant.any():
        raise VaezooError(
            f"{part.source}: {int(constant.sum())} of {constant.size} values are the same in every training image, "
            f"first number {int(constant.argmax())}; leave them out, or standardise = 'all' (one mean and deviation "
            "for all)"
        )
    return Standardised(exact, mean, np.sqrt(variance))


def _mean(convert: Conversion, part: Part, chosen: Array, center: Array, *, power: int, together: bool) -> Array:
    """The mean of (x - center)^power over the chosen images, of each pixel or of all together."""
    total, count = np.zeros(convert.layout.result), int(chosen.sum())
    for start, block in part.blocks():
        x = convert(part, start, block)[chosen[start : start + len(block)]]
        total += ((x - center) ** power).sum(0)
    return np.asarray(total.mean() / count) if together else total / count
