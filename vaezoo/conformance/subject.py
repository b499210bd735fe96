"""What is proved: a plugin in a small model, made in the sizes that a proof asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaezoo.build import Ingredients, construct, resolve
from vaezoo.conformance.proof import NotRun
from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import DataSpec
from vaezoo.core.draws import Batch
from vaezoo.core.errors import Skip
from vaezoo.core.model import LatentModel
from vaezoo.registry import PARTS, Plugin, Variant, registry

SHAPES: tuple[tuple[int, ...], ...] = ((1, 8, 8), (6,), (3, 32, 32), (1, 28, 28))
"""Tried in turn, until one is not skipped."""
TRAIN_SIZE = 600
LEVELS = 5


def spec_of(measure: str, shape: tuple[int, ...]) -> DataSpec:
    """A spec of a measure, in few levels."""
    return DataSpec(shape, measure, LEVELS if measure == "discrete" else None)


def images(spec: DataSpec, count: int, seed: int = 0) -> Tensor:
    """Random images of a measure as the parts see them. [count, *shape]"""
    generator = torch.Generator().manual_seed(noise.derive(seed, "images"))
    uniform = torch.rand(count, *spec.shape, generator=generator)
    if spec.measure == "binary":
        return (uniform < 0.4).float()
    if spec.measure == "discrete":
        return (uniform * LEVELS).floor().clamp(max=LEVELS - 1) / (LEVELS - 1)
    if spec.measure == "counts":
        return (uniform * 10).floor()
    return torch.randn(count, *spec.shape, generator=generator)


@dataclass
class Subject:
    """A plugin under proof. quick: fewer samples, for our own tests of the whole registry."""

    plugin: Plugin
    quick: bool = False
    _shape: tuple[int, ...] | None = field(default=None, repr=False)

    @property
    def measure(self) -> str:
        """The first measure that the plugin, or its variant's likelihood, scores; binary where it does not say."""
        target = self.plugin.target
        if self.plugin.slot == "likelihood":
            return str(target.measures[0])
        if isinstance(target, Variant):
            name = target.likelihood if isinstance(target.likelihood, str) else target.likelihood[0]
            if name != "auto":
                return str(registry("likelihood")[name].target.measures[0])
        return "binary"

    def count(self, samples: int) -> int:
        """So many samples, a quarter of them in quick mode."""
        return samples // 4 if self.quick else samples

    def build(
        self,
        *,
        latent: int = 2,
        shape: tuple[int, ...] | None = None,
        seed: int = 0,
        double: bool = False,
        overrides: dict[str, Any] | None = None,
    ) -> tuple[LatentModel, Objective]:
        """A small model with the plugin in its slot and plain parts around it."""
        for candidate in (shape,) if shape else (self._shape,) if self._shape else SHAPES:
            try:
                assert candidate is not None
                made = self.build_on(spec_of(self.measure, candidate), latent, seed, overrides or {})
            except Skip as reason:
                last = reason
                continue
            self._shape = self._shape or candidate
            return (made[0].double(), made[1].double()) if double else made
        raise NotRun(f"it skips: {last}")

    def build_on(
        self, spec: DataSpec, latent: int, seed: int, overrides: dict[str, Any]
    ) -> tuple[LatentModel, Objective]:
        """The model on images of this spec; Skip where a part cannot be."""
        own: dict[str, Any] = {} if self.plugin.slot == "variant" else {self.plugin.slot: (self.plugin.name, {})}
        variant: str | Variant = self.plugin.target if isinstance(self.plugin.target, Variant) else "vae"
        slots = resolve(variant, spec, {**{s: (n, {}) for s, n in overrides.items()}, **own})
        ingredients = Ingredients(spec, latent, (8,), lambda n: images(spec, min(n, TRAIN_SIZE), seed=1), TRAIN_SIZE)
        return construct(slots, ingredients, seed=seed)

    def batch(self, model: LatentModel, count: int = 3, seed: int = 2) -> Batch:
        """Random images for a model, in its dtype."""
        return model.batch(images(model.spec, count, seed), index=torch.arange(count))

    def part(self, model: LatentModel, objective: Objective) -> torch.nn.Module:
        """The plugin's own module."""
        names = {"posterior": "posterior_net", "variant": ""}
        slot = self.plugin.slot
        if slot == "objective":
            return objective
        return model if slot == "variant" else getattr(model, names.get(slot, slot))


@contextmanager
def keyed(seed: int, model: LatentModel, batch: Batch | None = None) -> Iterator[None]:
    """A stream of noise for a model, keyed by the batch's images."""
    index = batch.index if batch is not None else None
    with noise.stream(noise.derive(seed, "check"), index=index, device=model.device, dtype=model.dtype):
        yield


MODULES = (*PARTS, "variant")
"""The slots whose plugins are, or make, modules."""
