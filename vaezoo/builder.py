"""Variant + DataSpec + sizes -> LatentModel: the constructor rule, and the rehearsal that a plan makes of a row.

As with pytest's fixtures, a plugin names what it wants. The builder serves a constructor's arguments before `*`:
`spec`, `latent`, `latents`, `hidden`, `features`, `parameter_shape`, `train_images`, `train_sample`, `train_size`.
Those after `*` are hyper-parameters.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import PARAMETER_GROUPS, Objective
from vaezoo.core.data import MEASURES, Dataset, DataSpec, Split
from vaezoo.core.errors import Skip, VaezooError, unknown
from vaezoo.core.model import LatentModel
from vaezoo.core.options import checked_options
from vaezoo.core.requests import requests_of, skip_without_context
from vaezoo.registry import PARTS, Choice, Plugin, Slots, Variant, registry

BUILT_FIRST = ("likelihood", "decoder")
"""The parts that are built before the others, which follow in the order of PARTS. Weights are drawn in this order."""
NATURAL = {
    "binary": "bernoulli",
    "discrete": "discretized-logistic",
    "counts": "negative-binomial",
    "continuous": "gaussian",
}
"""The likelihood that "auto" means, by the dataset's measure."""


def variant_named(name: str | Variant) -> Variant:
    """A registered Variant, or the one given."""
    if isinstance(name, Variant):
        return name
    found: Variant = registry("variant")[name].target
    return found


def resolve(
    variant: str | Variant, spec: DataSpec, overrides: Mapping[str, tuple[str | None, Mapping[str, Any]]] | None = None
) -> Slots:
    """Every part's name and every hyper-parameter with its value: the variant's declaration, changed by the overrides
    of a matrix row.

    An override (None, {...}) sets hyper-parameters of the part the variant declares; one with another name starts from
    that part's own defaults. Raises VaezooError for unknown names, hyper-parameters and types.
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
            name = NATURAL[spec.measure]
        plugin = registry(slot)[name]
        slots[slot] = (name, checked_options(plugin, {**values, **settings}))
    return slots


@dataclass(frozen=True)
class Ingredients:
    """What a builder serves besides the parts' own shapes.

    latents: the size of each latent group, top first; `latent` is served as the lowest one's. train_sample: n ->
    (images [n, *shape], their index [n]), chosen by torch's generator; `train_images` is served as the images alone.
    Where images are binarised dynamically, these are the gray levels.
    """

    spec: DataSpec
    latents: tuple[int, ...]
    hidden: tuple[int, ...]
    train_sample: Callable[[int], tuple[Tensor, Tensor]]
    train_size: int

    @staticmethod
    def of(dataset: Dataset, latent: int | Sequence[int], hidden: Sequence[int]) -> "Ingredients":
        """The ingredients of a dataset. latent: the size of the latent group, or of each one, top first."""

        def train_sample(n: int) -> tuple[Tensor, Tensor]:
            """n training images as floats of the default dtype, and their index."""
            split = dataset.train
            index = torch.randperm(len(split))[:n]
            chosen = split.x[index]
            dtype = torch.get_default_dtype()
            return chosen.to(dtype) / 255 if split.dynamic else dataset.spec.to_float(chosen).to(dtype), index

        return Ingredients(dataset.spec, group_sizes(latent), tuple(hidden), train_sample, len(dataset.train))

    @staticmethod
    def blank(spec: DataSpec, latent: int | Sequence[int], hidden: Sequence[int], train_size: int) -> "Ingredients":
        """The ingredients without data, for a model whose weights are loaded afterwards: training images are zeros."""

        def zeros(n: int) -> tuple[Tensor, Tensor]:
            """Blank images, the first of the training split."""
            count = min(n, train_size)
            return torch.zeros(count, *spec.shape), torch.arange(count)

        return Ingredients(spec, group_sizes(latent), tuple(hidden), zeros, train_size)

    def served(self) -> dict[str, Any]:
        """Each ingredient by the name under which constructors ask for it."""
        images: Callable[[int], Tensor] = lambda n: self.train_sample(n)[0]  # noqa: E731
        return {**vars(self), "latent": self.latents[-1], "train_images": images}


def group_sizes(latent: int | Sequence[int]) -> tuple[int, ...]:
    """The size of each latent group, top first, of a number (one group) or a list. VaezooError for a size under 1."""
    sizes = (latent,) if isinstance(latent, int) else tuple(latent)
    if not sizes or any(size < 1 for size in sizes):
        raise VaezooError(f"latent must be a whole number >= 1 or a list of them, top first, got {latent!r}")
    return sizes


def construct(
    slots: Slots, ingredients: Ingredients, *, seed: int = 0, allow_pseudo_likelihood: bool = False
) -> tuple[LatentModel, Objective]:
    """Build the model and its objective, with weights drawn from the seed's axis "initialisation".

    Raises Skip where a part asks for what is not served, or the likelihood does not score these images; VaezooError for
    a likelihood without measures, an objective whose importance_samples is no whole number of 1 or more, or a part with
    a layer that `refuse_layers` finds.
    """
    spec, served = ingredients.spec, ingredients.served()
    parts: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise.derive(seed, "initialisation"))
        for slot in (*BUILT_FIRST, *(each for each in PARTS if each not in BUILT_FIRST)):
            name, values = slots[slot]
            plugin = registry(slot)[name]
            groups, flat = len(ingredients.latents), "latents" not in plugin.builder_arguments
            if groups > 1 and flat and slot in ("posterior", "prior"):
                raise Skip(f"{slot} {name!r} has one latent group, and {groups} are asked for")
            if spec.context is None and isinstance(plugin.target, type):
                skip_without_context(slot, plugin.target, f"{slot} {name!r}")
            part: Any = _make(plugin, served, values)
            parts[slot] = part
            if slot == "likelihood":
                measures = measures_of(plugin)
                if spec.measure not in measures and not allow_pseudo_likelihood:
                    raise Skip(
                        f"likelihood {name!r} scores {' or '.join(measures)} images, these are {spec.measure}; "
                        "allow_pseudo_likelihood = true runs it all the same, marked and never ranked"
                    )
                served["parameter_shape"] = tuple(part.parameter_shape)
            if slot == "encoder":
                served["features"] = tuple(part.features)
    objective = parts.pop("objective")
    title, samples = f"objective {slots['objective'][0]!r}", objective.importance_samples
    if not isinstance(samples, int) or samples < 1:
        raise VaezooError(f"{title}: importance_samples must be a whole number >= 1, got {samples!r}")
    if objective.one_group and len(ingredients.latents) > 1:
        raise Skip(f"{title} takes one latent group, got {len(ingredients.latents)}")
    requests_of("objective", objective)
    for slot, part in (*parts.items(), ("objective", objective)):
        refuse_layers(slot, slots[slot][0], part)
    return LatentModel(**parts, spec=spec, latents=ingredients.latents), objective


BATCH_NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.LazyBatchNorm1d, nn.LazyBatchNorm2d, nn.LazyBatchNorm3d),
)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def refuse_layers(slot: str, name: str, part: nn.Module) -> None:
    """VaezooError where a part holds a layer of torch that cannot be right in it: BatchNorm, or Dropout that drops.

    An objective may hold BatchNorm without running statistics, because it may couple the images of a batch.
    """
    for place, layer in part.named_modules():
        found = f"{slot} {name!r} holds {type(layer).__name__} at {place!r}"
        if isinstance(layer, BATCH_NORMS) and (slot != "objective" or layer.track_running_stats):
            raise VaezooError(
                f"{found}, whose output depends on the other images of the batch and which changes its running "
                "statistics in a pass; use nn.LayerNorm or nn.GroupNorm"
            )
        if isinstance(layer, DROPOUTS) and layer.p > 0:
            raise VaezooError(
                f"{found}, which draws from torch's generator; use vaezoo.nets.Dropout, whose noise is keyed by image"
            )


def measures_of(likelihood: Plugin) -> tuple[str, ...]:
    """The measures that a registered likelihood scores; VaezooError where its class does not declare them."""
    declared = getattr(likelihood.target, "measures", ())
    if not isinstance(declared, tuple | list) or not declared or any(each not in MEASURES for each in declared):
        raise VaezooError(
            f"likelihood {likelihood.name!r} ({likelihood.place}) must declare `measures`, a tuple of "
            f"{', '.join(map(repr, MEASURES))}, got {declared!r}; write for example measures = ({MEASURES[0]!r},) in "
            "its class"
        )
    return tuple(declared)


def _make(plugin: Plugin, served: Mapping[str, Any], values: Mapping[str, Any]) -> nn.Module:
    own = {}
    for name, parameter in plugin.builder_arguments.items():
        if name in served:
            own[name] = served[name]
        elif parameter.default is Parameter.empty:
            raise VaezooError(
                f"{plugin.slot} {plugin.name!r} ({plugin.place}): its constructor's "
                f"{unknown('argument', name, served)}; hyper-parameters stand after '*'"
            )
    try:
        made: nn.Module = plugin.target(**own, **values)
    except VaezooError as error:
        title = f"{plugin.slot} {plugin.name!r}"
        raise type(error)(str(error) if title in str(error) else f"{title}: {error}") from error
    return made


@dataclass(frozen=True)
class Rehearsal:
    """The outcome of a rehearsal: what the built parts serve each other, or the error that ended it.

    served: `parameter_shape` and `features`; empty where there is an error. error: a Skip (the combination cannot be),
    another VaezooError (invalid user input), whatever else a plugin raised, or None. conditional: whether one of the
    model's parts requests the images' context.
    """

    served: Mapping[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    conditional: bool = False


def _rehearsed(attempt: Callable[[], Rehearsal]) -> Rehearsal:
    """Run the attempt and keep its error. It changes no weight, shows no warning, and draws from noise of its own."""
    threads, quiet = torch.get_num_threads(), warnings.catch_warnings(action="ignore")
    torch.set_num_threads(1)  # two images are too little work to share
    try:
        with quiet, torch.random.fork_rng(devices=[]), torch.no_grad(), noise.stream(0, index=torch.arange(2)):
            return attempt()
    except (Exception, SystemExit) as error:
        return Rehearsal(error=error)
    finally:
        torch.set_num_threads(threads)


def rehearse(
    slots: Slots, ingredients: Ingredients, example: Split | None = None, *, allow_pseudo_likelihood: bool = False
) -> Rehearsal:
    """Build a model and run one training pass over two images on the CPU, so that a plan finds what cannot run.

    example: two training images in the data's dtype, with their context; blank ones when left out. (Torch's meta
    device would compute nothing, but its kernels are written in Python: they are slower than two images, and the first
    one imports torch._dynamo.)
    """
    spec = ingredients.spec
    context = None if spec.context is None else torch.zeros(2, spec.context)
    images = example or Split(torch.zeros(2, *spec.shape), None, spec, context=context)

    def attempt() -> Rehearsal:
        """Build, and run one pass."""
        model, objective = construct(slots, ingredients, allow_pseudo_likelihood=allow_pseudo_likelihood)
        seen = images.context if model.conditional else None
        batch = model.batch(images.images(), seen, torch.arange(2))
        _check_value(slots["objective"][0], objective(model.draw(batch, objective.importance_samples)))
        served = {"parameter_shape": tuple(model.likelihood.parameter_shape), "features": tuple(model.encoder.features)}
        return Rehearsal(served, conditional=model.conditional)

    return _rehearsed(attempt)


def _check_value(name: str, value: object) -> None:
    """Refuse what a training step cannot differentiate: no tensor, or the value of a group that does not exist."""
    values = value if isinstance(value, dict) else {"all": value}
    for group in values:
        if group not in PARAMETER_GROUPS and list(values) != ["all"]:
            raise VaezooError(f"objective {name!r}: {unknown('group of parameters', group, PARAMETER_GROUPS)}")
    if not values or not all(isinstance(each, Tensor) for each in values.values()):
        groups = " | ".join(map(repr, PARAMETER_GROUPS))
        raise VaezooError(
            f"objective {name!r} must return a tensor of nats, [B] or a scalar, or {{{groups}: such a tensor}}, "
            f"got {value!r}"
        )


class Rehearsals:
    """A plan's rehearsals on one data set. Rows that differ only in fractions are rehearsed once.

    A fraction (a beta, a scale) does not change the shape of a tensor. For a further row with other fractions only the
    parts that are new are built, because a constructor may refuse a value. A rehearsal that failed is not remembered.
    example: see `rehearse`.
    """

    def __init__(self, example: Split | None = None) -> None:
        self.example = example
        self._done: dict[str, tuple[Rehearsal, set[str]]] = {}

    def __call__(self, slots: Slots, ingredients: Ingredients, *, allow_pseudo_likelihood: bool = False) -> Rehearsal:
        """The outcome of `rehearse`. Of a row like an earlier one, only the parts that are new are built."""
        given = ingredients.served()
        shapes = {slot: (name, _without_fractions(values)) for slot, (name, values) in slots.items()}
        alike = repr((shapes, allow_pseudo_likelihood, {**given, "train_images": None, "train_sample": None}))
        if alike not in self._done:
            outcome = rehearse(slots, ingredients, self.example, allow_pseudo_likelihood=allow_pseudo_likelihood)
            if outcome.error is None:
                self._done[alike] = outcome, {repr((slot, *part)) for slot, part in slots.items()}
            return outcome
        first, built = self._done[alike]
        for slot, (name, values) in slots.items():
            if (part := repr((slot, name, values))) not in built:
                attempt = partial(_built_alone, registry(slot)[name], values, {**given, **first.served})
                outcome = _rehearsed(attempt)
                if outcome.error is not None:
                    return outcome
                built.add(part)
        return first


def _built_alone(plugin: Plugin, values: Mapping[str, Any], served: Mapping[str, Any]) -> Rehearsal:
    _make(plugin, served, values)
    return Rehearsal()


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
    latent: int | Sequence[int] = 20,
    hidden: Sequence[int] = (400,),
    seed: int = 0,
    overrides: Mapping[str, Choice] | None = None,
) -> LatentModel:
    """A fresh LatentModel of a variant (a registered name or a Variant) for a dataset.

    latent: the size of the latent group, or of each one, top first.

    overrides: {slot: name or (name, {hyper-parameters})} in place of what the variant declares.

    >>> model = vaezoo.build("vae", vaezoo.load_dataset("digits-binary"), latent=8)
    """
    if isinstance(dataset, str):
        from vaezoo.datasets import load_dataset

        dataset = load_dataset(dataset)
    for slot in overrides or {}:
        if slot not in PARTS:
            raise VaezooError(unknown("slot", slot, PARTS))
    chosen = {slot: _chosen(slot, choice) for slot, choice in (overrides or {}).items()}
    slots = resolve(variant, dataset.spec, chosen)
    return construct(slots, Ingredients.of(dataset, latent, hidden), seed=seed)[0]


def _chosen(slot: str, choice: object) -> tuple[str, Mapping[str, Any]]:
    """The name and the hyper-parameters of one override. VaezooError for what is neither a name nor such a pair."""
    match choice:
        case str():
            return choice, {}
        case (str() as name, Mapping() as values):
            return name, values
    raise VaezooError(f"overrides[{slot!r}] must be a name or (name, {{hyper-parameters}}), got {choice!r}")


def objective_for(
    model: LatentModel, name: str, options: Mapping[str, Any], dataset: Dataset, *, seed: int = 0
) -> Objective:
    """The registered objective of this name for a model that is built. options: hyper-parameters, else the defaults."""
    plugin = registry("objective")[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise.derive(seed, "objective"))
        latent = model.prior_sample(1)[-1].shape[-1]
        made = _make(plugin, Ingredients.of(dataset, latent, ()).served(), checked_options(plugin, options))
    assert isinstance(made, Objective)
    return made.to(model.device, model.dtype)
