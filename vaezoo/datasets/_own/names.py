"""Finds images, labels and contexts of each split among the named arrays of a file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.core.errors import VaezooError, nearest
from vaezoo.datasets._own.files import listed
from vaezoo.datasets._own.options import NO_LABELS, OwnOptions
from vaezoo.datasets._own.parts import SPLITS, Part, Parts, Rows, numeric

IMAGES = ("x", "data", "images", "image", "imgs", "inputs", "features", "")
LABELS = ("y", "labels", "label", "targets", "target", "classes", "class")
WORDS = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid"}
WORDS |= {"test": "test", "testing": "test"}
"""What an array's name says of its split."""


def split_of(name: str) -> tuple[str, str | None]:
    """The base of an array's name and its split, or None: `x_train` is (`x`, `train`), `testdata` (`data`, `test`).

    >>> split_of("val_labels")
    ('labels', 'valid')
    """
    text = re.sub(r"[^a-z0-9]", "", name.lower())
    for word, split in sorted(WORDS.items(), key=lambda pair: -len(pair[0])):
        if text.startswith(word) or text.endswith(word):
            base = text.removeprefix(word) if text.startswith(word) else text.removesuffix(word)
            return base, split
    return text, None


def named(base: str, arrays: Mapping[str, Any], what: str, file: str) -> dict[str, str]:
    """The array of each split that a name stands for: itself, or `x_train`, `x_valid` and `x_test` for `x`."""
    if base in arrays:
        own, split = split_of(base)
        others = {split_of(each)[1]: each for each in arrays if split_of(each)[0] == own} if split == "train" else {}
        return {"train": base} | {s: others[s] for s in SPLITS[1:] if s in others}
    found = {split: each for each in arrays for own, split in [split_of(each)] if split and own == _plain(base)}
    if not found:
        raise VaezooError(f"{file} has no array {base!r} for the {what}; {nearest(base, arrays)}")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _guessed(words: Sequence[str], arrays: Mapping[str, Any]) -> dict[str, str]:
    """The arrays whose names say what they are, by split: the first of these words that an array of train has."""
    for word in words:
        found = {split or "train": each for each in arrays for base, split in [split_of(each)] if base == word}
        if "train" in found:
            return found
    return {}


def images_of(arrays: Mapping[str, Any], images: str | None, options: OwnOptions, file: str) -> dict[str, str]:
    """The array of each split's images. Raises VaezooError where the names do not tell, with all arrays."""
    if images is not None:
        found = named(images, arrays, "images", file)
    else:
        found = _guessed(IMAGES, arrays)
        wide = [name for name, array in arrays.items() if len(array.shape) >= 2 and min(array.shape) > 1]
        if not found and len(wide) == 1:
            found = {"train": wide[0]}
    if "train" not in found:
        raise VaezooError(f"{file} holds {listed(arrays)}: say which are the images, as images = {_first(arrays)!r}")
    for split in SPLITS[1:]:
        asked = getattr(options, split)
        if isinstance(asked, str):
            if asked not in arrays:
                raise VaezooError(f"{file} has no array {asked!r} for {split}; {nearest(asked, arrays)}")
            found[split] = asked
        elif asked is not None:
            found.pop(split, None)
    return {split: found[split] for split in SPLITS if split in found}


def _first(arrays: Mapping[str, Any]) -> str:
    return max(arrays, key=lambda name: len(arrays[name].shape), default="x")


def array_parts(
    arrays: Mapping[str, Any], images: str | None, options: OwnOptions, path: Path, squeeze: bool = False
) -> Parts:
    """The parts of a file of named arrays. squeeze: whether columns [N, 1] and rows [1, N] hold one label an image."""
    chosen = images_of(arrays, images, options, path.name)
    labels = _labels_of(arrays, options, chosen, path.name)
    contexts = {name: named(name, arrays, "context", path.name) for name in _context_names(options, path.name)}
    parts: Parts = {}
    for split, name in chosen.items():
        source = f"{path.name}, array {name!r}"
        x: Rows = arrays[name]
        numeric(x, source)
        own = {
            each: np.asarray(arrays[_aligned(found, split, each, path.name)][()]) for each, found in contexts.items()
        }
        y = None if split not in labels else _flat(np.asarray(arrays[labels[split]][()]), squeeze)
        parts[split] = Part(x, source, labels=y, contexts=own, guessed=options.labels is None)
    return parts


def _labels_of(
    arrays: Mapping[str, Any], options: OwnOptions, chosen: Mapping[str, str], file: str
) -> Mapping[str, str]:
    given = options.labels
    if given == NO_LABELS:
        return {}
    if given is None:
        images = {*chosen.values()}
        return _guessed(LABELS, {name: array for name, array in arrays.items() if name not in images})
    if isinstance(given, int):
        raise VaezooError(f"labels must name an array of {file}, got {given}; {nearest(given, arrays)}")
    if isinstance(given, str):
        return named(given, arrays, "labels", file)
    if len(given) != len(chosen):
        raise VaezooError(f"labels must name an array for each of {', '.join(chosen)}, got {len(given)}")
    for name in given:
        if name not in arrays:
            raise VaezooError(f"{file} has no array {name!r} for the labels; {nearest(name, arrays)}")
    return dict(zip(chosen, given, strict=True))


def _context_names(options: OwnOptions, file: str) -> list[str]:
    for name in options.read_contexts:
        if isinstance(name, int):
            raise VaezooError(f"context must name arrays of {file}, got the number {name}")
    return list(map(str, options.read_contexts))


def _aligned(found: Mapping[str, str], split: str, name: str, file: str) -> str:
    if split not in found:
        raise VaezooError(f"{file} has no array of the context {name!r} for {split}; name it {name}_{split}")
    return found[split]


def _flat(labels: np.ndarray[Any, Any], squeeze: bool) -> np.ndarray[Any, Any]:
    return labels.ravel() if squeeze and labels.ndim == 2 and 1 in labels.shape else labels
