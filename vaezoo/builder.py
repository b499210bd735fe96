"""Variant + what the data are + sizes -> LatentModel: the constructor rule.

As with pytest's fixtures, a plugin names what it wants. Constructor arguments before `*` are asked of the builder:
`spec`, `latent`, `hidden`, `features`, `parameter_shape`, `train_images`, `train_size`. Those after `*` are
hyper-parameters. Order of building: likelihood, decoder, encoder, posterior, prior, objective.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset, DataSpec
from vaezoo.core.errors import Skip, VaezooError, unknown
from vaezoo.core.model import LatentModel
from vaezoo.core.options import checked_options
from vaezoo.registry import PARTS, Choice, Plugin, Variant, registry

ORDER = ("likelihood", "decoder", "encoder", "posterior", "prior", "objective")
NATURAL = {"binary": "bernoulli", "discrete": "discretized-logistic", "continuous": "gaussian"}
"""The likelihood that "auto" means, by the dataset's measure."""

Slots = dict[str, tuple[str, dict[str, Any]]]
"""For each part its registered name and all of its hyper-parameters."""


def variant_named(name: str | Variant) -> Variant:
    """A registered Variant, or the one given."""
    if isinstance(name, Variant):
        return name
    found: Variant = registry("variant")[name].target
    return found


def resolve(
    variant: str | Variant, spec: DataSpec, overrides: Mapping[str, tuple[str | None, Mapping[str, Any]]] | None = None
) -> Slots:
    """Every part's name and every hyper-parameter with its value: the variant's declaration under the overrides of a
    matrix row.

    An override (None, {...}) sets hyper-parameters of the part the variant declares; one with another name starts from
    that part's own defaults. Raises VaezooError for unknown names, hyper-parameters and types; Skip where "auto" has no
    answer.
    """
    declared = variant_named(variant)
    slots: Slots = {}
    for slot in PARTS:
        choice: Choice = getattr(declared, slot)
        name, values = (choice, {}) if isinstance(choice, str) else (choice[0], dict(choice[1]))
        other, settings = (overrides or {}).get(slot, (None, {}))
        if other is not None and other != name:
            name, values = other, {}
        if slot == "likelihood" and name == "auto":
            if spec.measure not in NATURAL:
                raise Skip(f"there is no natural likelihood for {spec.measure} images; name one")
            name = NATURAL[spec.measure]
        plugin = registry(slot)[name]
        slots[slot] = (name, checked_options(plugin, {**values, **settings}))
    return slots


@dataclass(frozen=True)
class Ingredients:
    """What a builder serves besides the parts' own shapes."""

    spec: DataSpec
    latent: int
    hidden: tuple[int, ...]
    train_images: Callable[[int], Tensor]
    train_size: int

    @staticmethod
    def of(dataset: Dataset, latent: int, hidden: Sequence[int]) -> "Ingredients":
        """Served from a dataset's training split; images for initialisation are a seeded choice (of dynamic ones, their
        gray levels).
        """

        def train_images(n: int) -> Tensor:
            """n training images as floats, chosen by torch's generator."""
            split = dataset.train
            chosen = split.x[torch.randperm(len(split))[:n]]
            return chosen.to(torch.get_default_dtype()) / 255 if split.dynamic else dataset.spec.to_float(chosen)

        return Ingredients(dataset.spec, latent, tuple(hidden), train_images, len(dataset.train))

    @staticmethod
    def blank(spec: DataSpec, latent: int, hidden: Sequence[int], train_size: int) -> "Ingredients":
        """Served without data, where weights are loaded afterwards or nothing is computed (a plan)."""
        shape = spec.shape
        return Ingredients(spec, latent, tuple(hidden), lambda n: torch.zeros(min(n, train_size), *shape), train_size)

    def served(self) -> dict[str, Any]:
        """All of it by name, as constructors ask for it."""
        return dict(vars(self))


def construct(
    slots: Slots, ingredients: Ingredients, *, seed: int = 0, allow_pseudo_likelihood: bool = False
) -> tuple[LatentModel, Objective]:
    """Build every part in order and put them together, with weights drawn from the seed's own axis "initialisation".

    Raises Skip where a part asks for what is not there or cannot score these images.
    """
    spec, served = ingredients.spec, ingredients.served()
    parts: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise.derive(seed, "initialisation"))
        for slot in ORDER:
            name, values = slots[slot]
            part: Any = _make(registry(slot)[name], served, values)
            parts[slot] = part
            if slot == "likelihood":
                if spec.measure not in part.measures and not allow_pseudo_likelihood:
                    raise Skip(
                        f"likelihood {name!r} scores {' or '.join(part.measures)} images, these are {spec.measure}; "
                        "allow_pseudo_likelihood = true runs it all the same, marked and never ranked"
                    )
                served["parameter_shape"] = tuple(part.parameter_shape)
            if slot == "encoder":
                served["features"] = tuple(part.features)
    objective = parts.pop("objective")
    return LatentModel(**parts, spec=spec), objective


def _make(plugin: Plugin, served: Mapping[str, Any], values: Mapping[str, Any]) -> nn.Module:
    own = {}
    for name, parameter in plugin.builder_arguments.items():
        if name in served:
            own[name] = served[name]
        elif parameter.default is Parameter.empty:
            raise Skip(
                f"{plugin.slot} {plugin.name!r} ({plugin.place}) asks for {name!r}, which is not served here "
                f"(there are: {', '.join(served)}); hyper-parameters stand after '*'"
            )
    try:
        made: nn.Module = plugin.target(**own, **values)
    except VaezooError as error:
        title = f"{plugin.slot} {plugin.name!r}"
        raise type(error)(str(error) if title in str(error) else f"{title}: {error}") from error
    return made


@contextmanager
def _rehearsing() -> Iterator[None]:
    """Inside nothing is learnt, warned of or drawn from torch's generator. A VaezooError gets out; what else goes
    wrong is left to the cell, which keeps its log.
    """
    threads, quiet = torch.get_num_threads(), warnings.catch_warnings(action="ignore")
    torch.set_num_threads(1)  # two images are no work to share
    try:
        with quiet, torch.random.fork_rng(devices=[]), torch.no_grad(), noise.stream(0, index=torch.arange(2)):
            yield
    except VaezooError:
        raise
    except Exception:
        return
    finally:
        torch.set_num_threads(threads)


def rehearse(slots: Slots, ingredients: Ingredients, *, allow_pseudo_likelihood: bool = False) -> dict[str, Any]:
    """Build and run one training pass over two blank images on the CPU, so that a plan finds what cannot be.

    Raises Skip and VaezooError as the real thing would. Returns what the built parts serve to others, `parameter_shape`
    and `features`; nothing where they could not be built. (Torch's meta device would compute nothing, but its kernels
    are Python, slower than two images, and the first one imports torch._dynamo.)
    """
    served: dict[str, Any] = {}
    with _rehearsing():
        model, objective = construct(slots, ingredients, allow_pseudo_likelihood=allow_pseudo_likelihood)
        served = {"parameter_shape": tuple(model.likelihood.parameter_shape), "features": tuple(model.encoder.features)}
        x = torch.zeros(2, *ingredients.spec.shape)
        objective(model.draw(model.batch(x, index=torch.arange(2)), objective.importance_samples))
    return served


class Rehearsals:
    """A plan's rehearsals, remembered: rows that differ only in fractions are rehearsed once.

    A fraction (a beta, a scale) gives no tensor its shape. Of a further row with other ones only the parts that were
    not made before are made, as a constructor may refuse a value.
    """

    def __init__(self) -> None:
        self._done: dict[str, tuple[dict[str, Any], set[str]]] = {}

    def __call__(self, slots: Slots, ingredients: Ingredients, *, allow_pseudo_likelihood: bool = False) -> None:
        """`rehearse`, as far as it can find anything new."""
        given = ingredients.served()
        shapes = {slot: (name, _without_fractions(values)) for slot, (name, values) in slots.items()}
        alike = repr((shapes, allow_pseudo_likelihood, {**given, "train_images": None}))
        if alike in self._done:
            served, made = self._done[alike]
            for slot, (name, values) in slots.items():
                if (part := repr((slot, name, values))) not in made:
                    with _rehearsing():
                        _make(registry(slot)[name], served, values)
                    made.add(part)
        elif found := rehearse(slots, ingredients, allow_pseudo_likelihood=allow_pseudo_likelihood):
            self._done[alike] = {**given, **found}, {repr((slot, *part)) for slot, part in slots.items()}


def _without_fractions(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_fractions(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_fractions(inner) for inner in value]
    return float if isinstance(value, float) else value


def build(
    variant: str | Variant,
    dataset: Dataset | str,
    *,
    latent: int = 20,
    hidden: Sequence[int] = (400,),
    seed: int = 0,
    overrides: Mapping[str, Choice] | None = None,
) -> LatentModel:
    """A fresh LatentModel of a variant (a registered name or a Variant) for a dataset.

    overrides: {slot: name or (name, {hyper-parameters})} in place of what the variant declares.

    >>> model = vaezoo.build("vae", vaezoo.load_dataset("digits-binary"), latent=8)
    """
    if isinstance(dataset, str):
        from vaezoo.datasets import load_dataset

        dataset = load_dataset(dataset)
    for slot in overrides or {}:
        if slot not in PARTS:
            raise VaezooError(unknown("slot", slot, PARTS))
    chosen = {s: (c, {}) if isinstance(c, str) else c for s, c in (overrides or {}).items()}
    slots = resolve(variant, dataset.spec, chosen)
    return construct(slots, Ingredients.of(dataset, latent, hidden), seed=seed)[0]
