"""The options that every set of the user's own data has, beside those of its format."""

from dataclasses import MISSING, dataclass, fields
from inspect import Parameter
from typing import Any, Literal, get_type_hints

Measure = Literal["binary", "discrete", "counts", "continuous"]
Column = str | int
"""A column by its name, or by its number from 0; below 0 from the end."""
NO_LABELS = "none"
COMPUTED = ("labels", "library")
"""Contexts that no file holds by these names."""


@dataclass(frozen=True, kw_only=True)
class OwnOptions:
    """How a file becomes a data set.

    path: the file or folder; in a matrix file relative to that file's folder, in Python to the working folder. All
    other files are relative to the folder of `path`.
    measure, levels: as of a DataSpec. `binarise` makes the measure binary; else it must be said.
    valid, test: the number of images, or a fraction below 1 of them, that are split off the training images; or the
    name of an array, or another file, that holds them. A tenth each where the file has none of its own.
    split_seed: of the choice of these images. order: `shuffled`, or `file`: training images stand first in the file,
    then validation, then test.
    layout: the axes as the file has them, of the letters N (images), H, W, C or D (one axis of all pixels): `HWC`,
    `HWCN`, `DN`. shape: of one image whose pixels stand in one row of the file: [28, 28], or [3, 32, 32].
    transpose: the images were stored column by column: swap height and width. invert: top - x of each pixel.
    binarise: `dynamic` (training images anew for each batch, with probability gray / 255, or gray / (levels - 1) where
    levels are given), `fixed` (drawn once for each seed), or a threshold: 1 where a pixel is that or more.
    standardise: true (each pixel or column) or `all` (all together): subtract the training images' mean and divide by
    their standard deviation. Densities are those of the standardised values.
    dequantise: add uniform noise to the levels of continuous images, drawn once for each seed: (k + u) / levels.
    unique: keep each image once; one that several splits have stays in test, else in validation.
    labels: an array, a column or a file with the class of each image; for parts in arrays or files of their own a list.
    `none` where an array called y or labels is none.
    context: what conditional models see of each image: `labels` (one-hot), `library` (the log of the sum of its counts,
    [N, 1]), columns or arrays (text becomes one-hot), or a list of these.
    """

    path: str
    measure: Measure | None = None
    levels: int | None = None
    valid: int | float | str | None = None
    test: int | float | str | None = None
    split_seed: int = 0
    order: Literal["shuffled", "file"] = "shuffled"
    layout: str | None = None
    shape: tuple[int, ...] | None = None
    transpose: bool = False
    invert: bool = False
    binarise: Literal["dynamic", "fixed"] | float | None = None
    standardise: bool | Literal["all"] = False
    dequantise: bool = False
    unique: bool = False
    labels: Column | tuple[str, ...] | None = None
    context: Column | tuple[Column, ...] | None = None

    @property
    def given_labels(self) -> Column | tuple[str, ...] | None:
        """What holds the labels, where that is said; None also for `none`, which keeps arrays from being that."""
        return None if self.labels == NO_LABELS else self.labels

    @property
    def contexts(self) -> list[Column]:
        """What the context is made of."""
        return (
            [] if self.context is None else [self.context] if isinstance(self.context, str | int) else [*self.context]
        )

    @property
    def read_contexts(self) -> list[Column]:
        """The columns or arrays among them, which a file holds."""
        return [name for name in self.contexts if name not in COMPUTED]


def shared_parameters() -> dict[str, Parameter]:
    """The options as keyword-only parameters of a data set's function."""
    hints: dict[str, Any] = get_type_hints(OwnOptions)
    return {
        each.name: Parameter(
            each.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if each.default is MISSING else each.default,
            annotation=hints[each.name],
        )
        for each in fields(OwnOptions)
    }
