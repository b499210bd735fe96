"""How much memory a row's training takes at least, found before any of it is allocated."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vaezoo.builder import Ingredients, construct
from vaezoo.core.errors import VaezooError
from vaezoo.registry import Slots

COPIES = 4
"""Adam keeps the weights, their gradients, and two averages of these."""
FLOAT = 4
"""Bytes of a float32."""
UNCOUNTED = 2**63
"""Bytes of a model whose tensors are larger than torch can count."""
LARGE = 2**30
"""Bytes below which no model is looked at before its rehearsal."""


def may_be_large(*settings: Any) -> bool:
    """Whether whole numbers in these settings may make a model of LARGE bytes, if each is the size of a layer."""
    numbers = list(_whole_numbers(settings))
    return bool(numbers) and len(numbers) * max(numbers) ** 2 * FLOAT * COPIES >= LARGE


def _whole_numbers(value: Any) -> Iterator[int]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _whole_numbers(each)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value


@dataclass(frozen=True)
class Sizes:
    """parameters: how many. held: bytes of the weights, their gradients, Adam's averages, and the buffers. image: bytes
    that each image of a batch takes: its pixels, and the decoder's parameters of each sample.
    """

    parameters: int
    held: int
    image: int

    def reason(self, images: int, room: "Room") -> str | None:
        """Why training on batches of this many images does not fit, in one line, or None where it may."""
        needed = self.held + images * self.image
        limit = room.below(needed)
        if limit is None:
            return None
        if needed >= UNCOUNTED:
            return f"training takes more memory than can be counted, and {limit}"
        model = f"{COPIES} copies of {self.parameters:,} parameters and " if self.parameters else ""
        return f"training takes at least {_gib(needed)} ({model}batches of {images:,} images), and {limit}"


@dataclass(frozen=True)
class Room:
    """The memory that there is, in bytes. device: of the device; limit: what a cell may use; None: unknown, or none."""

    device: int | None = None
    limit: int | None = None

    def below(self, needed: int) -> str | None:
        """What is less than needed, in words, or None."""
        if self.limit is not None and needed > self.limit:
            return f"--max-memory is {_gib(self.limit)}"
        if self.device is not None and needed > self.device:
            return f"the device has {_gib(self.device)}"
        return None


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"


def sizes_of(slots: Slots, ingredients: Ingredients, *, allow_pseudo_likelihood: bool = False) -> Sizes | None:
    """The sizes of a model, which is built without memory for that (on torch's meta device). None where a part cannot
    be built there. Raises Skip and VaezooError where it cannot be built anywhere.
    """
    spec, train_size = ingredients.spec, ingredients.train_size
    blank = Ingredients.blank(spec, ingredients.latents, ingredients.hidden, train_size)
    try:
        with torch.device("meta"):
            model, objective = construct(slots, blank, allow_pseudo_likelihood=allow_pseudo_likelihood)
        weights = [*model.parameters(), *objective.parameters()]
        buffers = sum(each.numel() * each.element_size() for each in (*model.buffers(), *objective.buffers()))
        shape = tuple(model.likelihood.parameter_shape)
    except VaezooError:
        raise
    except Exception as error:  # whatever a part raises: its rehearsal says so
        return Sizes(0, UNCOUNTED, 0) if "overflow" in str(error).lower() else None
    held = sum(each.numel() * each.element_size() for each in weights) * COPIES + buffers
    image = FLOAT * (math.prod(spec.shape) + objective.importance_samples * math.prod(shape))
    return Sizes(sum(each.numel() for each in weights), held, image)
