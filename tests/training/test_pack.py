"""Seeds that train together train as each would alone. Where they cannot, the reason is given."""

import dataclasses
import math
import re

import pytest
import torch
from small_tasks import images_of
from swept_variants import EVERY

import vaezoo
from vaezoo import Objective, Skip
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.registry import PARTS, registry
from vaezoo.training import pack
from vaezoo.training.loop import NotPacked, make_packed_step, train, train_pack
from vaezoo.training.module import TrainingModule
from vaezoo.training.options import TrainingOptions
from vaezoo.training.pack import Pack, disagreement, slower
from vaezoo.training.seed_run import Diverged, TrainingResult

SEEDS = [3, 1, 4]
SMALL = {"components": 5, "width": 16}
"""Sizes of parts, far below their defaults."""
QUICK = TrainingOptions(
    epochs=3, batch_size=16, learning_rate=1e-2, kl_warmup=1.5, schedule="cosine", validation_images=None
)


def dataset(measure="binary", dynamic=False, n=60):
    x = torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    if measure != "binary":
        return images_of(measure, x)
    gray, binary = (255 * x).round().to(torch.uint8), x.round().to(torch.uint8)
    how = "dynamic" if dynamic else "none"
    context = x.flatten(1)[:, :3]  # which a conditional model takes and others ignore
    train, valid = (gray if dynamic else binary, None, context), (binary[:20], None, context[:20])
    return vaezoo.Dataset(train, valid, valid, "binary", binarisation=how)


def made(data, variant="vae", seeds=SEEDS, nets=None, objective=None):
    """[(model, objective)] of each seed."""
    found = []
    for seed in seeds:
        slots = resolve(variant, data.spec, nets or {})
        for slot in PARTS:
            known = registry(slot)[slots[slot][0]].hyperparameters
            slots[slot][1].update({name: value for name, value in SMALL.items() if name in known})
        model, own = construct(slots, Ingredients.of(data, 3, (9, 7)), seed=seed)
        found.append((model, objective() if objective else own))
    return found


def both(data, settings, variant="vae", **how):
    """(outcome, weights) of each seed in a pack, and of each alone. The weights of a Diverged are None."""
    pairs = made(data, variant, **how)
    outcomes = train_pack(*zip(*pairs, strict=True), data, settings, seeds=SEEDS)
    packed = [
        (o, weights(model) if isinstance(o, TrainingResult) else None)
        for (model, _), o in zip(pairs, outcomes, strict=True)
    ]
    alone = []
    for seed, (model, objective) in zip(SEEDS, made(data, variant, **how), strict=True):
        try:
            outcome = train(model, objective, data, settings, seed=seed)
            alone.append((outcome, weights(model)))
        except Diverged as error:
            alone.append((error, None))
    return packed, alone


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


ALONG_WHICH_NOTHING_CHANGES = 1e-2
"""Adam makes steps of the rounding of a gradient that is 0, as that by the length of a vector that is scaled to 1."""


def assert_same(packed, alone, rtol=1e-4):
    for (one, own), (other, others) in zip(packed, alone, strict=True):
        assert (one.best_epoch, len(one.history)) == (other.best_epoch, len(other.history))
        for name in ("objective", "validation_iwll"):
            curves = [torch.tensor([getattr(p, name) for p in o.history]) for o in (one, other)]
            torch.testing.assert_close(*curves, rtol=rtol, atol=1e-4)
        for name, value in others.items():
            torch.testing.assert_close(own[name], value, rtol=1e-2, atol=ALONG_WHICH_NOTHING_CHANGES, msg=name)


@pytest.mark.parametrize("nets", ["declared", pytest.param("conv", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("variant", EVERY)
def test_each_seed_trains_as_it_would_alone(variant, nets):
    chosen = None
    if nets == "conv":
        chosen = {"encoder": ("conv", {"channels": (4, 6), "width": 8}), "decoder": ("conv", {"channels": (6, 4)})}
    for data in (dataset(dynamic=True), dataset("continuous"), dataset("counts")):
        try:
            packed, alone = both(data, QUICK, variant, nets=chosen)
        except Skip as reason:
            if chosen and "use the encoder" in str(reason):
                pytest.skip(str(reason))
            continue
        assert_same(packed, alone)
        curves = {tuple(p.objective for p in outcome.history) for outcome, _ in packed}
        assert len(curves) == len(SEEDS), "each seed has its own noise, order and weights"
        return
    pytest.fail(f"{variant} scores images of no measure")


@pytest.mark.parametrize("clip", [1e-2, 5.0, 1e6])
def test_the_gradient_of_each_seed_is_clipped_by_its_own_norm(clip):
    settings = dataclasses.replace(QUICK, gradient_clip=clip, epochs=1)
    packed, alone = both(dataset(), settings)
    assert_same(packed, alone)


def test_clipping_is_a_seeds_own_affair():
    """One seed with a gradient a thousand times larger leaves the others' gradients as they were."""
    data, gradients = dataset(), []
    settings = TrainingOptions(batch_size=20, gradient_clip=1.0, learning_rate=0.0)
    for factor in (1.0, 1e3):
        pairs = made(data)
        with torch.no_grad():
            pairs[1][0].decoder.net[-2].weight.mul_(factor)
        step = make_packed_step(*zip(*pairs, strict=True), data, settings, SEEDS)
        step.start_epoch(torch.arange(60).view(1, 3, 20))
        step()
        gradients.append({name: p.grad for name, p in step.module.named_parameters()})
        norms = torch.stack([g.flatten(1).square().sum(1) for g in gradients[-1].values()]).sum(0).sqrt()
        torch.testing.assert_close(norms, torch.ones(3), rtol=1e-3, atol=0)
    for name, found in gradients[0].items():
        for seed in (0, 2):
            torch.testing.assert_close(gradients[1][name][seed], found[seed], msg=name)
        if name.startswith("model.decoder"):
            assert not torch.allclose(gradients[1][name][1], found[1]), name


def test_a_seed_that_diverges_does_not_disturb_the_others():
    def poisoned(data, seeds=SEEDS):
        pairs = made(data, seeds=seeds)
        with torch.no_grad():
            pairs[1][0].decoder.net[-2].bias[0] = math.nan
        return pairs

    data = dataset()
    found = poisoned(data)
    outcomes = train_pack(*zip(*found, strict=True), data, QUICK, seeds=SEEDS)
    assert isinstance(outcomes[1], Diverged)
    assert str(outcomes[1]) == "the objective is nan at step 1 (epoch 1)"
    packed = [(outcomes[n], weights(found[n][0])) for n in (0, 2)]
    alone = []
    for n in (0, 2):
        model, objective = made(data)[n]
        alone.append((train(model, objective, data, QUICK, seed=SEEDS[n]), weights(model)))
    assert_same(packed, alone)


def test_each_seed_stops_when_its_own_patience_ends():
    settings = TrainingOptions(epochs=25, batch_size=16, learning_rate=3e-2, patience=1, validation_images=None)
    packed, alone = both(dataset(), settings)
    assert len({len(outcome.history) for outcome, _ in packed}) > 1, "all stop at once: the test shows nothing"
    for (one, _), (other, _) in zip(packed, alone, strict=True):
        assert (one.best_epoch, len(one.history)) == (other.best_epoch, len(other.history))
        assert len(one.history) == one.best_epoch + 1 < 25


def test_models_and_pack_share_their_weights_and_progress_is_reported_by_place():
    data, seen = dataset(), []
    pairs = made(data)
    step = make_packed_step(*zip(*pairs, strict=True), data, QUICK, SEEDS)
    before = [weights(model) for model, _ in pairs]
    step.start_epoch(torch.arange(48).view(1, 3, 16))
    step()
    for seed, (model, _) in enumerate(pairs):
        for name, parameter in step.module.named_parameters():
            assert torch.equal(model.get_parameter(name.removeprefix("model.")), parameter[seed]), name
        assert not torch.equal(model.decoder.net[-2].bias, before[seed]["decoder.net.1.bias"])
    train_pack(*zip(*made(data), strict=True), data, QUICK, seeds=SEEDS, report=lambda n, p: seen.append((n, p.epoch)))
    assert seen == [(place, epoch) for epoch in (1, 2, 3) for place in range(3)]


class Closed(Objective):
    """Keeps a net where named_parameters() does not look."""

    def __init__(self):
        super().__init__()
        scale = torch.nn.Parameter(torch.rand(()) + 0.5)
        self.value = lambda draws: scale * draws.log_weight.mean(0)

    def forward(self, draws):
        return self.value(draws)


class Declares(Objective):
    """Could be mapped, and says that it must not."""

    not_mapped = "it is written by hand for one seed"

    def forward(self, draws):
        return draws.log_weight.mean(0)


class OwnGenerator(Objective):
    """Draws from torch's generator."""

    def forward(self, draws):
        return draws.log_weight.mean(0) + torch.randn(())


class Looks(Objective):
    """Decides by a value."""

    def forward(self, draws):
        value = draws.log_weight.mean(0)
        return value if float(value.sum()) < 0 else 2 * value


class Shares(Objective):
    """Adds up what differs between calls of one process: no function of its batch."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, draws):
        self.calls += 1
        return draws.log_weight.mean(0) * self.calls


@pytest.mark.parametrize(
    ("objective", "reason"),
    [
        (Closed, "mapped over seeds, all differs from the single run by"),
        (OwnGenerator, "the step cannot be mapped over seeds: vmap: called random operation"),
        (Declares, "it declares: it is written by hand for one seed"),
        (Looks, "the step cannot be mapped over seeds: "),
        (Shares, "mapped over seeds, all differs from the single run by"),
    ],
)
def test_what_cannot_be_packed_is_refused_with_its_reason_before_anything_changes(objective, reason):
    data = dataset()
    torch.manual_seed(0)
    pairs = made(data, objective=objective)
    before = [weights(model) for model, _ in pairs]
    with pytest.raises(NotPacked) as refused:
        train_pack(*zip(*pairs, strict=True), data, QUICK, seeds=SEEDS)
    assert reason in str(refused.value)
    for (model, _), kept in zip(pairs, before, strict=True):
        assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_seeds_of_large_parameters_are_no_pack_on_a_cpu(monkeypatch):
    """A step of all seeds can be made all the same: `vaezoo throughput` measures it."""
    data = dataset()
    pairs = made(data)
    sizes = [p.numel() for module in pairs[0] for p in module.parameters()]
    average = sum(sizes) / len(sizes)
    monkeypatch.setattr(pack, "LARGE", math.floor(average) + 1)
    assert slower(*pairs[0], torch.device("cpu")) is None
    monkeypatch.setattr(pack, "LARGE", math.floor(average) - 1)
    assert slower(*pairs[0], torch.device("cuda")) is None
    before = [weights(model) for model, _ in pairs]
    said = f"a parameter has {average:,.0f} numbers on average, and above {math.floor(average) - 1:,} a pack is slower"
    with pytest.raises(NotPacked, match=re.escape(said)):
        train_pack(*zip(*pairs, strict=True), data, QUICK, seeds=SEEDS)
    for (model, _), kept in zip(pairs, before, strict=True):
        assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    make_packed_step(*zip(*pairs, strict=True), data, QUICK, SEEDS)()


def test_a_gradient_that_leaks_between_seeds_is_found():
    """The comparison looks at gradients too: equal values are not enough."""
    data = dataset()
    pack = Pack([TrainingModule(model, objective) for model, objective in made(data)])
    step_inputs = (
        data.train.x[torch.arange(60).view(3, 20)],
        torch.arange(60).view(3, 20),
        torch.arange(3),
        torch.ones(()),
    )
    assert disagreement(pack, *step_inputs) is None

    class Leaks(Pack):
        def __call__(self, *given):
            values, buffers = super().__call__(*given)
            return {name: v + 0.1 * (v.flip(0) - v.flip(0).detach()) for name, v in values.items()}, buffers

    leaking = Leaks([TrainingModule(model, objective) for model, objective in made(data)])
    assert "the gradient of" in disagreement(leaking, *step_inputs)


@pytest.mark.parametrize("variant", ["vae", "iwae", "vae-mixture"])
def test_seeds_are_packed_in_bfloat16_too(variant):
    """There rounding alone moves a gradient by some hundredths of its largest element."""
    data, pairs = dataset(), []
    for model, objective in made(dataset(), variant):
        model.precision = "bfloat16"
        pairs.append((model, objective))
    outcomes = train_pack(*zip(*pairs, strict=True), data, QUICK, seeds=SEEDS)
    for seed, outcome, (model, objective) in zip(SEEDS, outcomes, made(data, variant), strict=True):
        model.precision = "bfloat16"
        alone = train(model, objective, data, QUICK, seed=seed)
        assert outcome.history[0].objective == pytest.approx(alone.history[0].objective, rel=0.01)
