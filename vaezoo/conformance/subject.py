"""The subject of a proof: a plugin in a small model, built in the sizes that the proof asks for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.builder import Ingredients, construct, measures_of, resolve
from vaezoo.conformance.verdict import NotRun
from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import DataSpec
from vaezoo.core.draws import Batch
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.registry import PARTS, Plugin, Variant, registry

SHAPES: tuple[tuple[int, ...], ...] = ((1, 8, 8), (6,), (3, 32, 32), (1, 28, 28))
"""Shapes of images, tried in turn until the plugin does not skip one."""
CONTEXT = 3
"""Length of each image's context. A model none of whose parts requests it is not conditional."""
TRAIN_SIZE = 600
LEVELS = 5
FEW = 8
"""In 20 dimensions a mixture has at most so many components: those of more cannot be fitted to samples."""
TOGETHER = 12
"""How many variants of a module's own parts are tried."""
BOUNDED = 256
"""Levels of continuous images in [0, 1): for a plugin that skips those on the whole line."""


def specs_of(
    measure: str, shape: tuple[int, ...], context: int | None = CONTEXT, levels: int = LEVELS
) -> list[DataSpec]:
    """Specs of a measure, to be tried in turn. levels: of discrete images."""
    if measure == "continuous":
        return [DataSpec(shape, measure, bounds, context=context) for bounds in (None, BOUNDED)]
    return [DataSpec(shape, measure, levels if measure == "discrete" else None, context=context)]


def images(spec: DataSpec, count: int, seed: int = 0) -> Tensor:
    """Random images of a measure as the parts see them. [count, *shape]"""
    generator = torch.Generator().manual_seed(noise.derive(seed, "images"))
    uniform = torch.rand(count, *spec.shape, generator=generator)
    if spec.measure == "binary":
        return (uniform < 0.4).float()
    if spec.measure == "discrete" and spec.levels is not None:
        return (uniform * spec.levels).floor().clamp(max=spec.levels - 1) / (spec.levels - 1)
    if spec.measure == "counts":
        return (uniform * 5).floor()
    return uniform if spec.levels else torch.randn(count, *spec.shape, generator=generator)


def contexts(model: LatentModel, count: int, seed: int = 0) -> Tensor | None:
    """Random contexts, [count, C], or None for a model that is not conditional."""
    if not model.conditional or model.spec.context is None:
        return None
    generator = torch.Generator().manual_seed(noise.derive(seed, "context"))
    return torch.randn(count, model.spec.context, generator=generator).to(model.dtype)


def rows(batch: Batch, chosen: slice) -> Batch:
    """Some images of a batch, with their context and index."""
    assert batch.index is not None
    context = None if batch.context is None else batch.context[chosen]
    return Batch(batch.x[chosen], context, batch.index[chosen], batch.progress)


@torch.no_grad()
def jitter(module: nn.Module, seed: int) -> None:
    """Add noise to every parameter. At its start a wrong formula may look right: at ones a variance equals its root, at
    zeros a flow is the identity.
    """
    generator = torch.Generator().manual_seed(noise.derive(seed, "jitter"))
    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.numel():
            fan_in = parameter.numel() // parameter.shape[0] if parameter.ndim > 1 else 4
            step = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.add_(step, alpha=0.4 / math.sqrt(fan_in))


@dataclass
class Subject:
    """A plugin under proof. quick: fewer samples, for our own tests of the whole registry. context: the length of
    the images' context, or None for images without.
    """

    plugin: Plugin
    quick: bool = False
    measure: str = ""
    context: int | None = CONTEXT
    _shape: tuple[int, ...] | None = field(default=None, repr=False)
    _around: Variant | None = field(default=None, repr=False)
    _options: dict[str, float] | None = field(default=None, repr=False)
    _remarks: list[str] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.measure = self.measure or self.measures[0]

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that the plugin, or its variant's likelihood, scores; binary where it does not say."""
        target = self.plugin.target
        if self.plugin.slot == "likelihood":
            return measures_of(self.plugin)
        if isinstance(target, Variant):
            name = target.likelihood if isinstance(target.likelihood, str) else target.likelihood[0]
            if name != "auto":
                return measures_of(registry("likelihood")[name])
        return ("binary",)

    def each_measure(self) -> Iterator[Subject]:
        """This subject on every measure that it scores."""
        for measure in self.measures:
            yield Subject(self.plugin, self.quick, measure, self.context)

    def in_each_variant(self) -> Iterator[Subject]:
        """This subject, then the plugin with the other parts of every variant that names it, and where it asks for
        `latents`, of every other variant.
        """
        yield self
        every = list(registry("variant").values()) if self.grouped and self.plugin.slot in PARTS else []
        for other in {each.name: each for each in (*self._naming(), *every)}.values():
            yield Subject(self.plugin, self.quick, self.measure, _around=other.target)

    @property
    def where(self) -> str:
        """Added to a failure: hyper-parameters other than the defaults, values refused, and what a pass raised."""
        changed = ", ".join(f"{name}={value:g}" for name, value in (self._options or {}).items())
        said = [f"with {changed}"] if changed else []
        return f" ({'; '.join([*said, *self._remarks])})" if said or self._remarks else ""

    def count(self, samples: int) -> int:
        """This number of samples, a quarter of it in quick mode."""
        return samples // 4 if self.quick else samples

    @property
    def grouped(self) -> bool:
        """Whether the plugin asks the builder for `latents`; of a variant, whether its posterior and its prior do."""
        if not isinstance(self.plugin.target, Variant):
            return "latents" in self.plugin.builder_arguments
        choices = {slot: getattr(self.plugin.target, slot) for slot in ("posterior", "prior")}
        parts = [registry(slot)[c if isinstance(c, str) else c[0]] for slot, c in choices.items()]
        return all("latents" in part.builder_arguments for part in parts)

    def latents(self, dimensions: int) -> tuple[int, ...]:
        """The sizes of the latent groups, top first, with this many dimensions in all: one group, or two where the
        plugin asks for `latents` and there are two dimensions or more: (1, 1), (2, 1), (3, 1).
        """
        return (dimensions - 1, 1) if self.grouped and dimensions > 1 else (dimensions,)

    def build(
        self,
        *,
        latent: int | tuple[int, ...] | None = None,
        shape: tuple[int, ...] | None = None,
        levels: int = LEVELS,
        seed: int = 0,
        double: bool = False,
        altered: bool = False,
        few: bool = False,
        overrides: dict[str, Any] | None = None,
    ) -> tuple[LatentModel, Objective]:
        """A small model with the plugin in its slot and plain parts around it, all parameters moved from their start.

        latent: the size of each group, top first, or the latent dimensions of all groups, which `latents` divides; 2
        when left out, or 3 for two groups. levels: of discrete images. altered: with other hyper-parameters than the
        defaults, at which a missing factor may be 1. few: with at most FEW components, layers or exemplars, as always
        in quick mode.
        """
        options: dict[str, float] = self._altered_options() if altered else {}
        if few or self.quick:
            options = options | self._few_options
        latents = latent if isinstance(latent, tuple) else self.latents(latent or self._latent)
        for candidate in (shape,) if shape else (self._shape,) if self._shape else SHAPES:
            assert candidate is not None
            for spec in specs_of(self.measure, candidate, self.context, levels):
                try:
                    made = self.build_on(spec, latents, seed, overrides or {}, options)
                except Skip as reason:
                    last = reason
                    continue
                self._shape = self._shape or candidate
                for part in made:
                    jitter(part, seed)
                return (made[0].double(), made[1].double()) if double else made
        raise NotRun(f"it skips: {last}")

    def build_on(
        self,
        spec: DataSpec,
        latents: tuple[int, ...],
        seed: int,
        overrides: dict[str, Any],
        options: dict[str, float] | None = None,
    ) -> tuple[LatentModel, Objective]:
        """The model on images of this spec; Skip where a part cannot be."""
        own: dict[str, Any] = {}
        if self.plugin.slot != "variant":
            own = {self.plugin.slot: (self.plugin.name, options or {})}

        def train_sample(n: int) -> tuple[Tensor, Tensor]:
            """Random images, the first ones of a training split."""
            count = min(n, TRAIN_SIZE)
            return images(spec, count, seed=1), torch.arange(count)

        def made(around: Variant, sizes: tuple[int, ...] = latents) -> tuple[LatentModel, Objective]:
            """The model with these parts around the plugin."""
            ingredients = Ingredients(spec, sizes, (8,), train_sample, TRAIN_SIZE)
            slots = resolve(around, spec, {**{s: (n, {}) for s, n in overrides.items()}, **own})
            return construct(slots, ingredients, seed=seed)

        usual = self.latents(self._latent)  # parts that take the usual groups also take one
        around, found = (self._around, True) if self._around else self._surroundings(lambda v: made(v, usual))
        self._around = around if found else None
        return made(around)

    @property
    def _latent(self) -> int:
        """The latent dimensions where a proof does not set them: 3 in two groups, (2, 1), or 2 in one group."""
        return 3 if self.grouped else 2

    def _surroundings(self, made: Callable[[Variant], tuple[LatentModel, Objective]]) -> tuple[Variant, bool]:
        """The variant whose other parts surround the plugin, and whether the plugin fits into it.

        It is the first that fits of: the variants of the plugin's own module that name it, `vae`, all others that name
        it, for a plugin of several groups all other variants, and what can be put together from the parts of its own
        module. Where none fits, it is the first with which a pass raises an error other than a VaezooError, which the
        proofs report, or else the first of these.
        """
        if isinstance(self.plugin.target, Variant):
            return self.plugin.target, True
        every, naming = list(registry("variant").values()), self._naming()
        own = [p.target for p in naming if p.module == self.plugin.module]
        plain: Variant = registry("variant")["vae"].target
        others = [p.target for p in (*naming, *(every if self.grouped else []))]
        chosen = list({each.name: each for each in [*own, plain, *others, *self._put_together(plain)]}.values())
        raised: list[tuple[Variant, str]] = []
        for around in chosen:
            try:
                model, objective = made(around)
                with torch.no_grad(), keyed(1, model):
                    objective(model.draw(self.batch(model, 2), objective.importance_samples))
            except VaezooError:  # they do not fit together; where nothing fits, the proof builds the first and says why
                continue
            except Exception as error:
                raised.append((around, f"a pass raised {type(error).__name__}: {error}".splitlines()[0]))
            else:
                return around, True
        if raised:
            self._remarks.append(raised[0][1])
            return raised[0][0], True
        return chosen[0], False

    def _put_together(self, plain: Variant) -> list[Variant]:
        """Variants of the other parts that the plugin's own module registers, each in place of the plain one."""
        slots = [slot for slot in PARTS if slot not in (self.plugin.slot, "objective")]
        own = {slot: [p.name for p in registry(slot).values() if p.module == self.plugin.module] for slot in slots}
        filled = {slot: names for slot, names in own.items() if names}
        if not filled:
            return []
        choices = itertools.islice(itertools.product(*filled.values()), TOGETHER)
        return [
            replace(plain, name=f"own parts {n}", **dict(zip(filled, names, strict=True)))
            for n, names in enumerate(choices)
        ]

    def _naming(self) -> list[Plugin]:
        """The registered variants that name the plugin as a part; none where it is a variant itself."""
        found, slot = [], self.plugin.slot
        for variant in registry("variant").values() if slot in PARTS else ():
            choice = getattr(variant.target, slot)
            if self.plugin.name == (choice if isinstance(choice, str) else choice[0]):
                found.append(variant)
        return found

    def _altered_options(self) -> dict[str, float]:
        """Fractions of 0.7 times their defaults, without those that the plugin's constructor refuses."""
        if self._options is None:
            self._options = {}
            for name, parameter in self.plugin.hyperparameters.items():
                if type(parameter.default) is float:
                    value = 0.7 * parameter.default or 0.3
                    if reason := self._refusal({**self._options, name: value}):
                        self._remarks.append(f"{name}={value:g} is refused: {reason}")
                    else:
                        self._options[name] = value
        return self._options

    @cached_property
    def _few_options(self) -> dict[str, float]:
        """FEW in place of every whole number above it, without those with which the model no longer runs: the plugin's
        constructor refuses them, or another part has to have the same.
        """
        options: dict[str, float] = {}
        for name, parameter in self.plugin.hyperparameters.items():
            many = type(parameter.default) is int and parameter.default > FEW
            if many and self._runs({**options, name: FEW}):
                options[name] = FEW
        return options

    def _runs(self, options: dict[str, float]) -> bool:
        """Whether a pass of the model with these hyper-parameters runs, on images of some shape."""
        for shape in (self._shape,) if self._shape else SHAPES:
            spec = specs_of(self.measure, shape, self.context)[0]
            try:
                model, objective = self.build_on(spec, self.latents(self._latent), 0, {}, options)
                with torch.no_grad(), keyed(1, model):
                    objective(model.draw(self.batch(model, 2), objective.importance_samples))
            except Exception:
                continue
            return True
        return False

    def _refusal(self, options: dict[str, float]) -> str | None:
        """Why the plugin cannot be built with these hyper-parameters; None where it can, or skips these images."""
        shape = self._shape or SHAPES[0]
        try:
            self.build_on(specs_of(self.measure, shape, self.context)[0], self.latents(self._latent), 0, {}, options)
        except Skip:
            return None
        except Exception as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]
        return None

    def batch(self, model: LatentModel, count: int = 3, seed: int = 2, training: bool = False) -> Batch:
        """Random images for a model, in its dtype, with a context where it is conditional.

        training: as halfway through training, where the index says which training image each one is.
        """
        progress = torch.full((), 0.5, dtype=model.dtype) if training else None
        x = images(model.spec, count, seed)
        return model.batch(x, contexts(model, count, seed), torch.arange(count), progress)

    def part(self, model: LatentModel, objective: Objective) -> nn.Module:
        """The plugin's own module."""
        names = {"posterior": "posterior_net", "variant": ""}
        slot = self.plugin.slot
        if slot == "objective":
            return objective
        return model if slot == "variant" else getattr(model, names.get(slot, slot))


@contextmanager
def keyed(seed: int, model: LatentModel, batch: Batch | None = None, first: int = 0) -> Iterator[None]:
    """A stream of noise for a model, keyed by the batch's images."""
    index = batch.index if batch is not None else None
    key = noise.derive(seed, "check")
    with noise.stream(key, index=index, first=first, device=model.device, dtype=model.dtype):
        yield


MODULE_SLOTS = (*PARTS, "variant")
"""The slots whose plugins are modules, and `variant`, whose plugins make one."""
