"""Checks of what `vaezoo.log_likelihood` is given: one line for each mistake, before anything is computed."""

import math
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel

MOST_SAMPLES = 10**9
"""More importance samples of one image take days."""
ROUNDING = 0.01
"""How far a float may lie from its level, in levels: float32 rounds by 0.004 where there are 65,536 of them."""
CHECKED_AT_ONCE = 1000
"""Images. Their float64 copies take little memory."""


def checked(
    model: LatentModel, x: Any, importance_samples: Any, seed: Any, context: Any, index: Any
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Images, context and index as tensors; index is 0..N-1 where none is given.

    Raises VaezooError for a model with weights that are not finite; for K or a seed that is no whole number, and K that
    is not in 1..MOST_SAMPLES; for x of another shape, without images, or with values that the model's measure does not
    allow; for a context that a conditional model lacks, one that another model is given, and one of another shape or
    not finite; and for an index that is not [N] whole numbers of 0 or more.
    """
    if not isinstance(model, LatentModel):
        raise VaezooError(
            f"log_likelihood takes a model first, got {type(model).__name__}; make one with vaezoo.build or "
            "vaezoo.load_model"
        )
    _check_number("importance_samples", importance_samples)
    if not 1 <= importance_samples <= MOST_SAMPLES:
        limit = f"{MOST_SAMPLES:,} at most" if importance_samples > 0 else "1 or more"
        raise VaezooError(f"importance_samples must be {limit}, got {importance_samples}")
    _check_number("seed", seed)
    x = _numbers("x", x)
    _check_images(model.spec, x)
    if context is not None:
        context = _numbers("context", context)
    _check_context(model, context, len(x))
    _check_weights(model)
    return x, context, torch.arange(len(x)) if index is None else _index(index, len(x))


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        raise VaezooError(f"{name} must be a whole number, got {value!r:.60}")


def _numbers(name: str, value: object) -> Tensor:
    """A tensor of real numbers or Booleans."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        value = torch.as_tensor(value)
    if not isinstance(value, Tensor) or value.is_complex() or value.layout != torch.strided:
        found = f"{getattr(value, 'dtype', '')} {type(value).__name__}".strip()
        raise VaezooError(f"{name} must be a torch.Tensor or a numpy array of real numbers, got {found}")
    return value


def _check_images(spec: DataSpec, x: Tensor) -> None:
    wanted = f"x must be [B, {', '.join(map(str, spec.shape))}]"
    if tuple(x.shape) == spec.shape:
        raise VaezooError(f"{wanted}, got {list(x.shape)}; give a single image as x[None]")
    if x.ndim == 0 or tuple(x.shape[1:]) != spec.shape:
        raise VaezooError(f"{wanted}, got {list(x.shape)}")
    if not len(x):
        raise VaezooError(f"log_likelihood takes one image or more, got x of shape {list(x.shape)}")
    for first in range(0, len(x), CHECKED_AT_ONCE):
        some = x[first : first + CHECKED_AT_ONCE]
        if bool((wrong := _wrong(spec, some)).any()):
            place = int(wrong.flatten(1).any(1).nonzero()[0])
            value = some[place][wrong[place]].flatten()[0].item()
            raise VaezooError(
                f"x of this {spec.measure} model must be {_wanted(spec)}, got {value:.4g} in image {first + place}"
            )


def _wrong(spec: DataSpec, x: Tensor) -> Tensor:
    """Where the measure does not allow a value of the images, in x's shape."""
    if spec.measure == "binary":
        return (x != 0) & (x != 1)
    value = x.double()
    if spec.measure == "continuous":
        return ~value.isfinite() | ((value < 0) | (value > 1)) & (spec.levels is not None)
    top = (spec.levels or 2) - 1 if spec.measure == "discrete" else math.inf
    rounding = 0.0
    if spec.measure == "discrete" and x.is_floating_point():
        value, rounding = value * top, ROUNDING
    far = (value - value.round()).abs() > rounding
    return ~value.isfinite() | (value < -rounding) | (value > top + rounding) | far


def _wanted(spec: DataSpec) -> str:
    """What values the images must have, and what to do."""
    if spec.measure == "binary":
        return "0 or 1 (binarise gray levels first, or build a model of images whose measure is 'discrete')"
    if spec.measure == "discrete":
        top = (spec.levels or 2) - 1
        return f"whole numbers in 0..{top}, or floats that are such numbers divided by {top}"
    if spec.measure == "counts":
        return "whole numbers of 0 or more"
    return "finite" if spec.levels is None else "in [0, 1]"


def _check_context(model: LatentModel, context: Tensor | None, images: int) -> None:
    wanted = f"[{images}, {model.spec.context}]"
    if not model.conditional:
        if context is not None:
            raise VaezooError("this model is not conditional: none of its parts requests context; give none")
    elif context is None:
        raise VaezooError(f"this model is conditional: give the context of the images, {wanted}")
    elif list(context.shape) != [images, model.spec.context]:
        raise VaezooError(f"context must be {wanted}, got {list(context.shape)}")
    elif not bool(context.isfinite().all()):
        bad = int((~context.isfinite()).any(1).nonzero()[0])
        raise VaezooError(f"context must be finite numbers, got NaN or infinity for image {bad}")


def _check_weights(model: LatentModel) -> None:
    for name, value in model.state_dict(keep_vars=True).items():
        if value.is_floating_point() and value.dtype.itemsize > 1 and bool(value.detach().sum().isfinite()):
            continue  # then each number is finite
        allowed = value.isfinite() if isinstance(value, nn.Parameter) else ~value.isnan()
        if not bool(allowed.all()):
            raise VaezooError(
                f"the model's {name} holds NaN or infinity in {int((~allowed).sum()):,} of {value.numel():,} numbers; "
                "train it anew, with a smaller learning rate where training diverged"
            )


def _index(given: object, images: int) -> Tensor:
    """The numbers of the images in their split, int64 [N]."""
    index = torch.as_tensor(given) if isinstance(given, list | tuple | range) else _numbers("index", given)
    if index.is_floating_point() or index.dtype == torch.bool or list(index.shape) != [images]:
        raise VaezooError(
            f"index must be the images' numbers in their split, whole numbers [{images}], got {index.dtype} "
            f"{list(index.shape)}"
        )
    index = index.to(torch.int64)
    if bool((index < 0).any()):
        raise VaezooError(f"index must be 0 or more, got {int(index.min())}")
    return index
