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


def encoded_labels(parts: Parts, options: OwnOptions) -> tuple[dict[str, Tensor], list[str]]:
    """The labels of each part: whole numbers as they are, text by its place among all, sorted, int64 [N], or factors
    [N, F]; and a line where some are left out.

    They are left out, all of them, where some part has none, and where arrays that were found by their names alone do
    not fit. Raises VaezooError for other labels that do not fit.
    """
    lacking = [part.source for part in parts.values() if part.labels is None]
    if len(lacking) == len(parts):
        return {}, []
    try:
        if lacking:
            raise VaezooError(
                f"{lacking[0]} has none, and the others have; give each its labels, or say labels = 'none'"
            )
        return _encoded(parts), []
    except VaezooError as error:
        guessed = any(part.guessed for part in parts.values())
        if "labels" in options.contexts or not (lacking or guessed):
            raise
        return {}, [f"labels are left out: {error}"]


def _encoded(parts: Parts) -> dict[str, Tensor]:
    values = _classes({split: _upright(part) for split, part in parts.items()})
    found = {split: _checked(parts[split], own) for split, own in values.items()}
    first = found["train"]
    for split, own in found.items():
        texts, widths = (own.dtype.kind in "OUS", first.dtype.kind in "OUS"), (own.shape[1:], first.shape[1:])
        if texts[0] != texts[1] or widths[0] != widths[1]:
            kinds = (
                ["text" if each else "numbers" for each in texts] if texts[0] != texts[1] else list(map(list, widths))
            )
            raise VaezooError(
                f"labels of {parts[split].source} are {kinds[0]}, those of {parts['train'].source} {kinds[1]}; make "
                "them alike"
            )
    if first.dtype.kind in "biu":
        return {split: torch.from_numpy(own.astype(np.int64)) for split, own in found.items()}
    every = {split: own.astype(str) for split, own in found.items()}
    known = np.unique(np.concatenate(list(every.values())))
    return {split: torch.from_numpy(np.searchsorted(known, own).astype(np.int64)) for split, own in every.items()}


def _upright(part: Part) -> Array:
    """The labels with the images along the first axis; [N, 1] and [1, N] as [N]."""
    labels = part.labels
    assert labels is not None
    if labels.ndim == 2 and labels.shape[0] != len(part) == labels.shape[1]:
        labels = labels.T
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _classes(given: dict[str, Array]) -> dict[str, Array]:
    """One-hot rows as their classes: of 0 and 1 alone, two or more columns, a single 1 in each row of every part, and a
    1 in each column of some part.
    """
    for labels in given.values():
        if labels.ndim != 2 or labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
            return given
        if not (labels.sum(1) == 1).all():
            return given
    if (
        len({labels.shape[1] for labels in given.values()}) > 1
        or not np.any([x.any(0) for x in given.values()], 0).all()
    ):
        return given
    return {split: labels.argmax(1) for split, labels in given.items()}


def _checked(part: Part, labels: Array) -> Array:
    """Labels as one value an image, or as whole numbers [N, F]. VaezooError where they are not."""
    whole = labels.dtype.kind in "biu"
    if not whole and labels.dtype.kind not in "fOUS":
        raise VaezooError(f"labels of {part.source} must be whole numbers or text, got {labels.dtype}")
    missing = None if labels.shape[:1] != (len(part),) else _missing(labels)
    if missing is not None:
        raise VaezooError(f"{part.place(missing)} has no label; fill it in or remove the image")
    if labels.dtype.kind == "f":
        wrong = labels[labels != labels.round()]
        if wrong.size:
            raise VaezooError(
                f"labels of {part.source} are classes, as whole numbers or text, got {float(wrong.flat[0]):.4g}; "
                "numbers can be context, and labels = 'none' leaves them out"
            )
        labels, whole = labels.astype(np.int64), True
    if labels.shape != (len(part),) and not (whole and labels.ndim == 2 and len(labels) == len(part)):
        raise VaezooError(f"{part.source} has {len(part)} images and labels {list(labels.shape)}; give one each")
    return labels


def encoded_contexts(parts: Parts, labels: Mapping[str, Tensor], options: OwnOptions) -> dict[str, Tensor]:
    """The context of each part, float32 [N, C], side by side: the logarithm of the `library` first, where it is asked
    for, because count likelihoods read column 0; then numbers as they are, text and `labels` one-hot.
    """
    if options.context is None:
        return {}
    columns: dict[str, list[Tensor]] = {split: [] for split in parts}
    for name in sorted(options.contexts, key=lambda name: name != "library"):  # the library is column 0
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
