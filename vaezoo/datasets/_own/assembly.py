"""From the parts of a user's file to a Dataset: axes, values, splits, labels and contexts, in blocks of rows."""

from collections import defaultdict
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.core.overlaps import refusal
from vaezoo.datasets._mnist_files import binarised
from vaezoo.datasets._own.labels import encoded_contexts, encoded_labels
from vaezoo.datasets._own.layout import along_images, layout_of
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import SPLITS, Array, Parts
from vaezoo.datasets._own.remarks import dequantised, of_scale, refuse_levels_without_noise
from vaezoo.datasets._own.splitting import Choice, choices
from vaezoo.datasets._own.standardise import Standardised, standardised
from vaezoo.datasets._own.store import room
from vaezoo.datasets._own.values import Conversion, conversion, value_range


def assembled(parts: Parts, options: OwnOptions, seed: int) -> Dataset:
    """The data set of a file's parts. seed: of a binarisation. Raises VaezooError with the file and the row."""
    parts = {split: along_images(part, options.layout and options.layout.upper()) for split, part in parts.items()}
    _same_shapes(parts)
    first = parts["train"]
    labels, remarks = encoded_labels(parts, options)
    contexts = encoded_contexts(parts, labels, options)
    found = value_range(parts)
    convert = conversion(options, found, layout_of(first, options), first.source)
    remarks = [
        *(line for part in parts.values() for line in part.remarks),
        *remarks,
        *found.remarks(options, first.source),
    ]
    if options.standardise:
        convert = replace(convert, dtype="float64")
    kept = _distinct(parts, convert) if options.unique else {s: np.arange(len(part)) for s, part in parts.items()}
    chosen = choices(parts, kept, options)
    scaled: Conversion | Standardised = convert
    if options.standardise:
        scaled = standardised(convert, first, chosen["train"].rows, together=options.standardise == "all")
    images = {split: torch.from_numpy(x) for split, x in _filled(parts, scaled, chosen).items()}
    if options.dequantise:
        assert options.levels is not None
        for split, x in images.items():
            images[split] = dequantised(
                x, options.levels, seed, split, torch.from_numpy(room(tuple(x.shape), "float32"))
            )
    elif options.measure == "continuous" and options.levels is not None:
        refuse_levels_without_noise(images["train"], options.levels, first.source)
    elif options.measure == "continuous" and not options.standardise:
        remarks += of_scale(images["train"], first.source)
    measure, binarisation = options.measure or "binary", "none"
    if options.binarise is not None:
        binarisation = options.binarise if isinstance(options.binarise, str) else "threshold"
        drawn = {"dynamic": SPLITS[1:], "fixed": SPLITS}.get(binarisation, ())
        for split in drawn:
            images[split] = binarised((images[split], torch.empty(0)), seed, split)[0]
    train, valid, test = (
        (images[split], _rows(labels, chosen[split]), _rows(contexts, chosen[split])) for split in SPLITS
    )
    levels = None if options.binarise is not None else options.levels
    dataset = Dataset(train, valid, test, measure, levels=levels, binarisation=binarisation)
    dataset.remarks = tuple(remarks)
    _refuse_overlaps(dataset, parts, chosen)
    return dataset


def _same_shapes(parts: Parts) -> None:
    """Raise VaezooError where a part has no image, or images of another shape than those of training."""
    first = parts["train"]
    for part in parts.values():
        shape, expected = list(part.x.shape[1:]), list(first.x.shape[1:])
        if not part.x.shape or len(part.x.shape) < 2 or 0 in part.x.shape:
            raise VaezooError(f"{part.source} must be images [N, ...] with a pixel or more, got {list(part.x.shape)}")
        if shape != expected:
            raise VaezooError(f"{part.source} holds images of {shape}, {first.source} of {expected}; make them equal")


def _rows(values: dict[str, Tensor], choice: Choice) -> Tensor | None:
    return values[choice.part][torch.from_numpy(choice.rows)] if values else None


def _distinct(parts: Parts, convert: Conversion) -> dict[str, Array]:
    """The rows of each part without images that stood before: in test, then in validation, then in training."""
    seen: set[bytes] = set()
    kept: dict[str, Array] = {}
    for split in reversed([each for each in SPLITS if each in parts]):
        rows = []
        for start, block in parts[split].blocks():
            for row, image in enumerate(convert(parts[split], start, block)):
                if (content := blake2b(image.tobytes(), digest_size=16).digest()) not in seen:
                    seen.add(content)
                    rows.append(start + row)
        kept[split] = np.array(rows, dtype=np.int64)
    return kept


def _filled(parts: Parts, convert: Conversion | Standardised, chosen: dict[str, Choice]) -> dict[str, Array]:
    """The converted images of each split. Those of a mapped file that stay as they are are not copied."""
    shape, images = convert.layout.result, dict[str, Array]()
    users = defaultdict(dict)  # type: defaultdict[str, dict[str, Array]]
    for split, choice in chosen.items():
        x = parts[choice.part].x
        if isinstance(x, np.memmap) and choice.contiguous and convert.identity(x.dtype):
            first = int(choice.rows[0])
            images[split] = x[first : first + len(choice.rows)].reshape(-1, *shape)
        else:
            images[split] = room((len(choice.rows), *shape), convert.dtype)
            places = np.full(len(parts[choice.part]), -1)
            places[choice.rows] = np.arange(len(choice.rows))
            users[choice.part][split] = places
    for name, part in parts.items():
        for start, block in part.blocks():
            converted = convert(part, start, block)
            for split, places in users[name].items():
                own = places[start : start + len(block)]
                images[split][own[own >= 0]] = converted[own >= 0]
    return images


def _refuse_overlaps(dataset: Dataset, parts: Parts, chosen: dict[str, Choice]) -> None:
    """Raise VaezooError where splits share too many images, which names two of them in the file."""
    if (reason := refusal(dataset.overlaps)) is None:
        return
    worst = next(overlap for overlap in dataset.overlaps if overlap.excess > 1)
    rows: dict[bytes, int] = {}
    x, y = getattr(dataset, worst.first).x, getattr(dataset, worst.second).x
    for row, image in enumerate(y):
        rows.setdefault(image.numpy().tobytes(), row)
    for row, image in enumerate(x):
        if (other := rows.get(image.numpy().tobytes())) is not None:
            first, second = (
                parts[chosen[split].part].place(int(chosen[split].rows[number]))
                for split, number in ((worst.first, row), (worst.second, other))
            )
            raise VaezooError(f"{reason}, or unique = true keeps each image once; for example {first} is {second}")
    raise VaezooError(f"{reason}, or unique = true keeps each image once")
