"""Every posterior with every prior and with every objective of one support: one training step, or a Skip that says why.

The parts come from the registry, so a new plugin is covered by being registered. `nightly` takes the full product.
"""

import itertools
from dataclasses import dataclass, field

import pytest
import torch

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.registry import Variant, registry
from vaezoo.training.loop import make_step
from vaezoo.training.options import TrainingOptions

MANY, FEW = 16, 4
"""A hyper-parameter of MANY or more (components, a width) is FEW here, where its constructor takes that."""
OPTIONS = TrainingOptions(epochs=1, batch_size=6)


def dataset() -> vaezoo.Dataset:
    """40 binary images with a context, so that conditional parts can be built."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 1, 8, 8, generator=generator).round()
    return vaezoo.Dataset(
        *[(x[:n], None, torch.randn(n, 3, generator=generator)) for n in (40, 8, 8)], measure="binary"
    )


DATA = dataset()
Names = dict[str, str]
"""Slot -> the registered name of its part."""


def names(slot: str, latents: tuple[int, ...] = (4,)) -> list[str]:
    """vaezoo's own parts of a slot, for several groups those that ask for `latents`."""
    own = [plugin for plugin in registry(slot).values() if plugin.module.startswith("vaezoo.")]
    flat = slot == "objective" or len(latents) == 1
    return sorted(plugin.name for plugin in own if flat or "latents" in plugin.builder_arguments)


def surroundings(posterior: str) -> Variant:
    """The first variant that declares a posterior, whose encoder, decoder and likelihood surround it; else the VAE."""
    variants = [plugin.target for plugin in registry("variant").values()]
    declared = [each for each in variants if posterior in (each.posterior, each.posterior[0])]
    plain = registry("variant")["vae"].target
    return plain if plain in declared or not declared else declared[0]


def small(slot: str, name: str) -> dict[str, int]:
    """FEW for each hyper-parameter that is a whole number of MANY or more."""
    options = registry(slot)[name].hyperparameters.items()
    return {each: FEW for each, own in options if type(own.default) is int and own.default >= MANY}


def built(parts: Names, latents: tuple[int, ...]):
    """The model and the objective, small. Where a constructor refuses a small value, with the defaults."""
    variant, ingredients = surroundings(parts["posterior"]), Ingredients.of(DATA, latents, (8,))
    for shrink in (True, False):
        overrides = {slot: (name, small(slot, name) if shrink else {}) for slot, name in parts.items()}
        try:
            return construct(resolve(variant, DATA.spec, overrides), ingredients)
        except Skip:
            raise
        except VaezooError:
            if not shrink:
                raise
    raise AssertionError("not reached")


def step(parts: Names, latents: tuple[int, ...]) -> None:
    """One training step, after which every gradient and every parameter is finite and some parameter has moved."""
    model, objective = built(parts, latents)
    step = make_step(model, objective, DATA, OPTIONS, seed=0, eager=True)
    step.start_epoch(torch.arange(OPTIONS.batch_size)[None])
    before = {name: parameter.detach().clone() for name, parameter in step.module.named_parameters()}
    step()
    assert step.values_so_far.isfinite().all(), parts
    after = dict(step.module.named_parameters())
    assert all(parameter.isfinite().all() for parameter in after.values()), parts
    assert any(not torch.equal(parameter, before[name]) for name, parameter in after.items()), parts


@dataclass
class Coverage:
    """What ran, and the reason of what was skipped, by (posterior, prior, objective)."""

    ran: list[tuple[str, ...]] = field(default_factory=list)
    skipped: dict[tuple[str, ...], str] = field(default_factory=dict)

    def tried(self, *chosen: str, latents: tuple[int, ...]) -> bool:
        """Whether a step of these parts ran. A Skip is noted with its reason; any other error is raised."""
        try:
            step(dict(zip(("posterior", "prior", "objective"), chosen, strict=True)), latents)
        except Skip as skip:
            self.skipped[chosen] = str(skip)
            return False
        self.ran.append(chosen)
        return True


def sound(posterior: str, prior: str, latents: tuple[int, ...], found: Coverage) -> bool:
    """Whether a posterior and a prior make a model: it is built, and one pass gives log p(x, z) and log q."""
    try:
        model, _ = built({"posterior": posterior, "prior": prior}, latents)
        split = DATA.valid
        context = split.context[:2] if model.conditional else None
        with torch.no_grad():
            assert model.draw(model.batch(split.x[:2], context, torch.arange(2)), 1).log_weight.shape == (1, 2)
    except Skip as skip:
        found.skipped[posterior, prior] = str(skip)
        return False
    return True


def covered(latents: tuple[int, ...], full: bool = False) -> Coverage:
    """The steps of a covering design. Each posterior takes turns through its priors and through the objectives at once,
    until it has met each of both; a prior whose objective skipped it tries the others. full: all triples.
    """
    found, objectives = Coverage(), names("objective")
    for start, posterior in enumerate(names("posterior", latents)):
        priors = [each for each in names("prior", latents) if sound(posterior, each, latents, found)]
        if not priors:
            continue
        turns = range(start, start + max(len(priors), len(objectives)))
        pairs = [(priors[n % len(priors)], objectives[n % len(objectives)]) for n in turns]
        for prior, objective in itertools.product(priors, objectives) if full else pairs:
            found.tried(posterior, prior, objective, latents=latents)
        for prior in priors:
            others = (each for each in objectives if (posterior, prior, each) not in found.skipped)
            if not any(ran[:2] == (posterior, prior) for ran in found.ran):
                any(found.tried(posterior, prior, each, latents=latents) for each in others)
    return found


def check(found: Coverage, latents: tuple[int, ...]) -> None:
    """Each part has run with some others, and each reason is one line. With several groups some objectives skip."""
    for n, slot in enumerate(("posterior", "prior", "objective")):
        left = set(names(slot, latents)) - {ran[n] for ran in found.ran}
        assert not left or (slot == "objective" and len(latents) > 1), (left, found.skipped)
    for chosen, reason in found.skipped.items():
        assert reason.strip(), chosen
        assert "\n" not in reason, chosen


@pytest.mark.parametrize("latents", [(4,), (3, 4)], ids=["one group", "two groups"])
def test_every_posterior_runs_a_step_with_every_prior_and_every_objective_of_its_support(latents):
    check(covered(latents), latents)


@pytest.mark.nightly
@pytest.mark.parametrize("latents", [(4,), (3, 4)], ids=["one group", "two groups"])
def test_every_triple_runs_a_step_or_skips(latents):
    check(covered(latents, full=True), latents)
