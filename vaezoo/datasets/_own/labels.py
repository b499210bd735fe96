"""Labels and contexts of a user's data: numbers for classes, one-hot vectors for text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Array, Part, Parts

MOST = 1000
"""Values that a column of text may have to be a context."""


def encoded_labels(parts: Parts) -> dict[str, Tensor]:
    """The labels of each part: whole numbers as they are, other values by their place among all, sorted. [N] int64

    Empty where some part has none. Raises VaezooError where their number is not that of the images.
    """
    given = {split: _classes(part) for split, part in parts.items() if part.labels is not None}
    if len(given) != len(parts):
        return {}
    if all(values.dtype.kind in "biu" for values in given.values()):
        return {split: torch.from_numpy(values.astype(np.int64)) for split, values in given.items()}
    every = {split: values.astype(str) if values.dtype.kind in "OUS" else values for split, values in given.items()}
    known = np.unique(np.concatenate(list(every.values())))
    return {split: torch.from_numpy(np.searchsorted(known, values).astype(np.int64)) for split, values in every.items()}


def _classes(part: Part) -> Array:
    """The labels of a part as one value an image, or as whole numbers [N, F], its factors; one-hot rows, or columns,
    become the class.
    """
    labels = part.labels
    assert labels is not None
    if labels.ndim == 2 and len(part) in labels.shape and labels.dtype.kind in "biuf":
        axis = 1 if labels.shape[0] == len(part) else 0
        if bool((labels.astype(bool).sum(axis) == 1).all()):
            labels = labels.argmax(axis)
    factors = labels.ndim == 2 and len(labels) == len(part) and labels.dtype.kind in "biu"
    if labels.shape != (len(part),) and not factors:
        raise VaezooError(f"{part.source} has {len(part)} images and labels {list(labels.shape)}; give one each")
    missing = _missing(labels)
    if missing is not None:
        raise VaezooError(f"{part.place(missing)} has no label; fill it in or remove the image")
    if labels.dtype.kind == "f" and bool((labels == labels.round()).all()):
        labels = labels.astype(np.int64)
    return labels


def encoded_contexts(parts: Parts, labels: Mapping[str, Tensor], options: OwnOptions) -> dict[str, Tensor]:
    """The context of each part, float32 [N, C], side by side: numbers as they are, text and `labels` one-hot, and of
    `library` its logarithm.
    """
    if options.context is None:
        return {}
    columns: dict[str, list[Tensor]] = {split: [] for split in parts}
    for name in options.contexts:
        if name == "labels":
            found = _one_hot(_labels(labels, parts))
        elif name == "library":
            found = _library(parts, options)
        else:
            found = _column(parts, str(name))
        for split, values in found.items():
            columns[split].append(values)
    return {split: torch.cat(own, 1) for split, own in columns.items()}


def _labels(labels: Mapping[str, Tensor], parts: Parts) -> Mapping[str, Tensor]:
    if not labels:
        raise VaezooError(f"context = 'labels': {parts['train'].source} has no labels; name them with labels = ...")
    if labels["train"].ndim > 1:
        raise VaezooError(f"context = 'labels' needs one label an image, {parts['train'].source} has several factors")
    return labels


def _one_hot(labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One-hot vectors of the classes that occur in any part, in rising order."""
    known = torch.cat(list(labels.values())).unique()
    if len(known) > MOST:
        raise VaezooError(f"a context of {len(known)} values is too many to be one-hot; {MOST} are the most")
    places = {split: torch.searchsorted(known, values) for split, values in labels.items()}
    return {split: torch.nn.functional.one_hot(place, len(known)).to(torch.float32) for split, place in places.items()}


def _library(parts: Parts, options: OwnOptions) -> dict[str, Tensor]:
    """The log of the sum of each image's counts. [N, 1]"""
    if options.measure != "counts":
        raise VaezooError(f"context = 'library' is the log of the sum of counts; measure is {options.measure!r}")
    found = {}
    for split, part in parts.items():
        sums = np.concatenate([block.reshape(len(block), -1).sum(1, dtype=np.float64) for _, block in part.blocks()])
        empty = np.flatnonzero(~(sums > 0))
        if len(empty):
            raise VaezooError(f"{part.place(int(empty[0]))} has no count, and so no library size; remove it")
        found[split] = torch.from_numpy(np.log(sums).astype(np.float32))[:, None]
    return found


def _column(parts: Parts, name: str) -> dict[str, Tensor]:
    values: dict[str, Any] = {}
    for split, part in parts.items():
        column = part.contexts[name]
        if len(column) != len(part):
            raise VaezooError(f"{part.source} has {len(part)} images and {len(column)} rows of the context {name!r}")
        missing = _missing(column)
        if missing is not None:
            raise VaezooError(f"{part.place(missing)}: context {name!r} is empty or NaN; fill it in or remove the row")
        values[split] = column.reshape(len(part), -1)
    if any(column.dtype.kind in "OUS" for column in values.values()):
        texts = {split: column[:, 0].astype(str) for split, column in values.items()}
        known = np.unique(np.concatenate(list(texts.values())))
        return _one_hot({split: torch.from_numpy(np.searchsorted(known, text)) for split, text in texts.items()})
    return {split: torch.from_numpy(column.astype(np.float32)) for split, column in values.items()}


def _missing(values: Array) -> int | None:
    """The first row that holds no value, or None."""
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values)
    elif values.dtype.kind == "O":
        bad = np.array([value is None or value != value for value in values.ravel()]).reshape(values.shape)
    else:
        return None
    rows = np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))
    return int(rows[0]) if len(rows) else None
