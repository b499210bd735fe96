"""Schedules against their formulas, and that a step follows them."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch

import vaezoo
from vaezoo import VaezooError
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.objectives.elbo import ELBO
from vaezoo.training.module import TrainingModule
from vaezoo.training.options import TrainingOptions
from vaezoo.training.schedules import SCHEDULES, kl_weights, learning_rates
from vaezoo.training.step import TrainingStep


def rates_of(schedule, rate, epochs, steps_per_epoch):
    return learning_rates(TrainingOptions(epochs=epochs, schedule=schedule, learning_rate=rate), steps_per_epoch)


def test_a_constant_rate():
    assert rates_of("constant", 0.3, 4, 5).tolist() == [torch.tensor(0.3).item()] * 20


@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (4, 5), (10, 3)])
def test_cosine(epochs, steps):
    rates = rates_of("cosine", 0.2, epochs, steps)
    total = epochs * steps
    assert rates.shape == (total,)
    for t, rate in enumerate(rates.tolist()):
        assert math.isclose(rate, 0.2 * (1 + math.cos(math.pi * t / total)) / 2, rel_tol=1e-5, abs_tol=1e-9)


@pytest.mark.parametrize("steps", [1, 3])
def test_stages_of_powers_of_three(steps):
    """Stage i has 3^i epochs at rate 10^(-i/7): eight stages are 3,280 epochs (Burda et al. 2016)."""
    rates = rates_of("stages", 1e-3, 3280, steps).tolist()
    expected = [1e-3 * 10 ** (-i / 7) for i in range(8) for _ in range(3**i * steps)]
    assert len(rates) == len(expected) == 3280 * steps
    assert all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(rates, expected, strict=True))
    assert math.isclose(rates[-1], 1e-4, rel_tol=1e-5)


def test_stages_stay_at_the_last_rate():
    assert math.isclose(float(rates_of("stages", 1.0, 4000, 1)[-1]), 0.1, rel_tol=1e-5)


def test_an_unknown_schedule_is_named():
    with pytest.raises(VaezooError, match="schedule 'cosin' is unknown; did you mean 'cosine'"):
        rates_of("cosin", 1e-3, 2, 2)


@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0, 2.5, 20.0])
def test_the_weight_of_the_kl_rises_linearly(warmup):
    weights = kl_weights(TrainingOptions(epochs=6, kl_warmup=warmup), 4).tolist()
    expected = [1.0 if warmup == 0 else min(1.0, t / (4 * warmup)) for t in range(24)]
    assert len(weights) == 24
    assert all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) for a, b in zip(weights, expected, strict=True))


@pytest.mark.parametrize(("epochs", "steps", "cycles"), [(8, 5, 4), (6, 4, 2), (10, 1, 3), (7, 3, 1)])
def test_the_weight_of_the_kl_rises_anew_in_each_cycle(epochs, steps, cycles):
    """With a warm-up of half a cycle it is min(1, 2 tau), tau = (t mod T / M) / (T / M) (Fu et al. 2019)."""
    total, half = epochs * steps, epochs / cycles / 2
    weights = kl_weights(TrainingOptions(epochs=epochs, kl_warmup=half, kl_cycles=cycles), steps).tolist()
    expected = [min(1.0, float(2 * (Fraction(t * cycles, total) % 1))) for t in range(total)]
    assert all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) for a, b in zip(weights, expected, strict=True))
    assert sum(later < earlier for earlier, later in pairwise(weights)) == cycles - 1


def test_one_cycle_is_the_warm_up_and_is_not_written():
    """The keys of cells without cycles are what they were before cycles existed."""
    plain = TrainingOptions(epochs=6, kl_warmup=2.0)
    assert "kl_cycles" not in plain.to_json()
    cyclical = TrainingOptions(epochs=6, kl_warmup=2.0, kl_cycles=2)
    assert TrainingOptions(**cyclical.to_json()) == cyclical != plain
    assert (plain.kl_annealed_after, cyclical.kl_annealed_after) == (2.0, 5.0)


@pytest.mark.parametrize(
    ("warmup", "said"),
    [
        (1.5, None),
        (2.0, "the KL warm-up of 2 epochs does not end within a cycle of 2 epochs"),
        (0.0, r"3 KL cycles change nothing without a KL warm-up (kl_warmup)"),
    ],
)
def test_cycles_that_never_reach_1_or_have_no_warm_up_are_remarked(warmup, said):
    assert TrainingOptions(epochs=6, kl_warmup=warmup, kl_cycles=3).unfinished_warmup == said


class WatchedELBO(ELBO):
    """The ELBO, which keeps the KL's weight of its last step."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kl_weight", torch.zeros(()))

    def forward(self, draws):
        self.kl_weight.copy_(draws.kl_weight)
        return super().forward(draws)


def step_of(**settings):
    """A step over 4 batches of 5 images for 3 epochs, its model, and the KL's weight of its last step."""
    x = torch.rand(20, 1, 3, 3, generator=torch.Generator().manual_seed(0)).round()
    data = vaezoo.Dataset(x, x, x, measure="binary")
    model, _ = construct(resolve("vae", data.spec), Ingredients.of(data, 2, (4,)))
    objective, options = WatchedELBO(), TrainingOptions(epochs=3, batch_size=5, **settings)
    return TrainingStep(TrainingModule(model, objective), data.train, options), model, objective.kl_weight


def start_epoch(step, steps=4):
    step.start_epoch(torch.arange(5).repeat(steps, 1))


@pytest.mark.parametrize("warmup", [0.0, 2.0])
def test_a_warm_up_is_applied_step_by_step(warmup):
    step, _, seen = step_of(kl_warmup=warmup)
    found = []
    for _ in range(3):
        start_epoch(step)
        for _ in range(4):
            step()
            found.append(seen.clone())
    expected = kl_weights(TrainingOptions(epochs=3, kl_warmup=warmup), 4)
    torch.testing.assert_close(torch.stack(found), expected)


def test_a_warm_up_changes_what_is_learned():
    weights = []
    for warmup in (0.0, 3.0):
        step, model, _ = step_of(kl_warmup=warmup)
        start_epoch(step)
        for _ in range(4):
            step()
        weights.append(model.posterior_net.heads[1].bias.detach().clone())
    assert not torch.allclose(weights[0], weights[1])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_is_applied_step_by_step(schedule):
    """Adam's step under a gradient that stays 1 is the rate itself."""
    step, model, _ = step_of(schedule=schedule, learning_rate=1e-2)
    bias, moved = model.decoder.net[1].bias, []
    step._differentiate = lambda values: [setattr(p, "grad", torch.ones_like(p)) for p in step.groups["all"]]
    for _ in range(12):
        before = bias.detach().clone()
        start_epoch(step, 1)
        step()
        moved.append(float((before - bias.detach()).mean()))
    torch.testing.assert_close(torch.tensor(moved), rates_of(schedule, 1e-2, 3, 4), rtol=1e-3, atol=1e-7)


def test_steps_beyond_the_schedule_keep_its_last_value():
    step, _, seen = step_of(kl_warmup=1.5, schedule="cosine")
    for _ in range(14):
        start_epoch(step, 1)
        step()
    assert float(seen) == 1.0
    torch.testing.assert_close(step.learning_rates[0], step.schedules[2, -1])
