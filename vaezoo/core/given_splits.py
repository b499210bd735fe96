"""Checks of the splits that a data set's author gives: tensors or numpy arrays, one clear line for each mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vaezoo.core.errors import VaezooError

if TYPE_CHECKING:
    from vaezoo.core.data import DataSpec

Array = Tensor | np.ndarray[Any, Any]
Given = Array | tuple[Array, Array | None] | tuple[Array, Array | None, Array | None]
"""One split as a data set's author gives it: images x [N, *shape], or (images, labels [N] or None), or (images, labels,
context [N, C] or None).
"""
ROWS = 4096
"""Images that are looked at together, so that a mapped file is not read into memory at once."""
FORMS = "images [N, *shape], or (images, labels [N]), or (images, labels, context [N, C])"


@dataclass(frozen=True)
class GivenSplit:
    """One split after the checks that concern it alone, on the CPU. name: `train`, `valid` or `test`."""

    name: str
    x: Tensor
    y: Tensor | None = None
    context: Tensor | None = None


def given_splits(given: Mapping[str, Given]) -> list[GivenSplit]:
    """The splits by their names. All contexts are floats of one dtype and one width; images of half precision are
    float32.

    Raises VaezooError for what is no array, for lengths that differ, and for contexts that some splits lack or that
    differ in width or hold NaN or infinity.
    """
    splits = [_given_split(name, each) for name, each in given.items()]
    first = splits[0]
    for other in splits[1:]:
        if (other.context is None) != (first.context is None):
            has, lacks = (first, other) if other.context is None else (other, first)
            raise VaezooError(
                f"{has.name} has a context and {lacks.name} has none; "
                "give all three splits as (images, labels, context)"
            )
        if first.context is not None and other.context is not None and other.context.shape[1] != first.context.shape[1]:
            raise VaezooError(
                f"{other.name} context must be [N, {first.context.shape[1]}] as {first.name}'s is, "
                f"got {list(other.context.shape)}"
            )
    dtypes = {split.context.dtype for split in splits if split.context is not None}
    if len(dtypes) > 1:
        common = torch.get_default_dtype()
        splits = [replace(s, context=s.context if s.context is None else s.context.to(common)) for s in splits]
    return splits


def _given_split(name: str, given: Given) -> GivenSplit:
    """One split as CPU tensors, images of half precision as float32."""
    if len(given) not in (2, 3) if isinstance(given, tuple) else not isinstance(given, Tensor | np.ndarray):
        size = f" of {len(given)}" if isinstance(given, tuple | list) else ""
        raise VaezooError(
            f"{name} must be {FORMS}, as torch tensors or numpy arrays, got {type(given).__name__}{size}; "
            "make an array with numpy.asarray, and a pair with round brackets"
        )
    x, y, context = (*given, None)[:3] if isinstance(given, tuple) else (given, None, None)
    x = as_tensor(f"{name} images", "[N, *shape]", x)
    if x.ndim < 2 or x.numel() == 0:
        raise VaezooError(
            f"{name} images must be [N, *shape] with N >= 1 and a pixel or more, got {list(x.shape)}; "
            "give images an axis of their own, and none of length 0"
        )
    if x.is_complex():
        raise VaezooError(f"{name} images must be real numbers, got {x.dtype}; take x.real or x.abs()")
    if x.is_floating_point() and x.dtype not in (torch.float32, torch.float64):
        x = x.to(torch.float32)
    elif x.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch does little with these
        x = x.to(torch.int64)
    labels = None if y is None else _labels(name, y, len(x))
    return GivenSplit(name, x, labels, None if context is None else _context(name, context, len(x)))


def _labels(name: str, given: Array, images: int) -> Tensor:
    y = as_tensor(f"{name} labels", "[N]", given)
    if y.shape[:1] != (images,):
        found = y.shape[0] if y.ndim else "a single number"
        raise VaezooError(f"{name} needs a label for each of its {images} images, got {found}")
    return y


def _context(name: str, given: Array, images: int) -> Tensor:
    """Floats [N, C]: whole numbers and Booleans in the default dtype, half precision as float32."""
    context = as_tensor(f"{name} context", "[N, C]", given)
    if context.ndim != 2 or context.shape[1] == 0 or context.is_complex():
        hint = "; turn labels into context by torch.nn.functional.one_hot(labels)" if context.ndim == 1 else ""
        raise VaezooError(
            f"{name} context must be real numbers [N, C] with C >= 1, got {context.dtype} {list(context.shape)}{hint}"
        )
    if len(context) != images:
        raise VaezooError(f"{name} needs a context for each of its {images} images, got {len(context)}")
    if not context.is_floating_point():
        return context.to(torch.get_default_dtype())
    if context.dtype != torch.float64:
        context = context.to(torch.float32)
    _refuse_not_finite(f"{name} context holds", context)
    return context


def as_tensor(title: str, form: str, value: Array) -> Tensor:
    """A tensor on the CPU, detached; an array is copied. VaezooError, which begins with the title, for anything else.

    form: the shape that an error names.
    """
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise VaezooError(f"{title} must be a dense tensor {form}, got {value.layout}; use .to_dense()")
        return value.detach().cpu()
    if not isinstance(value, np.ndarray):
        raise VaezooError(
            f"{title} must be a torch.Tensor or a numpy array {form}, got {type(value).__name__}; use numpy.asarray"
        )
    try:
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    except TypeError:
        raise VaezooError(
            f"{title} must be numbers, got a numpy array of dtype {value.dtype}; convert them, for example by "
            "array.astype('float32')"
        ) from None


def _refuse_not_finite(start: str, values: Tensor) -> None:
    bad = torch.cat([(~block.isfinite()).flatten(1).any(1) for block in values.split(ROWS)])
    if bad.any():
        raise VaezooError(
            f"{start} NaN or infinity in {int(bad.sum())} of {len(values)} images, "
            f"first in image {int(bad.nonzero()[0])}; clean the data"
        )


_GRAY = {
    "binary": "; gray images are measure='discrete' with levels=256, as whole numbers 0..255, or binarise them",
    "discrete": "; give the levels as whole numbers 0..levels-1, or gray values in [0, 1) as measure='continuous'",
}
"""What to do with images that are no whole numbers, or too large, of each measure."""


def stored_images(split: GivenSplit, spec: DataSpec, *, dynamic: bool) -> Tensor:
    """Check the images of one split, and store them in the smallest dtype that holds them. dynamic: whether they are
    gray levels 0..255 of binary images.
    """
    name, x = split.name, split.x
    if tuple(x.shape[1:]) != spec.shape:
        raise VaezooError(f"{name} images must be of shape {list(spec.shape)} as train's are, got {list(x.shape[1:])}")
    if x.is_floating_point():
        _refuse_not_finite(f"{name} images hold", x)
    if spec.measure == "continuous":
        low, high = float(x.min()), float(x.max())
        if spec.levels is not None and not 0 <= low <= high <= 1:
            raise VaezooError(
                f"{name} images of this continuous set with levels={spec.levels} must lie in [0, 1], "
                f"got {low:g}..{high:g}; divide them by the number of levels, or leave levels out"
            )
        return x if x.is_floating_point() else x.to(torch.get_default_dtype())
    if x.is_floating_point() and not all(bool((block == block.round()).all()) for block in x.split(ROWS)):
        raise VaezooError(
            f"{name} images of a {spec.measure} set must be whole numbers, got {float(x[x != x.round()][0]):.4g}"
            f"{_GRAY.get(spec.measure, '')}"
        )
    top = {"binary": 255 if dynamic else 1, "discrete": (spec.levels or 2) - 1}.get(spec.measure, 2**31 - 1)
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > top:
        raise VaezooError(
            f"{name} images of this {spec.measure} set must lie in 0..{top}, got {low:g}..{high:g}"
            f"{_GRAY.get(spec.measure, '')}"
        )
    return x.to(torch.uint8 if high <= 255 else torch.int32)
