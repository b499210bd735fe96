"""Noise that is drawn ahead is, to the last bit, the noise that each step would draw for itself."""

import pytest
import torch
from recorded_steps import CONV, assert_identical, dataset, made, state_of

import vaezoo
from vaezoo import Objective, VaezooError, noise
from vaezoo.core.errors import Skip
from vaezoo.training.loop import epoch_order
from vaezoo.training.replay import prefetch as module

EPOCH = 60
"""Steps, of which few are made."""


def trained(step, ahead, epochs=(20, 20)):
    """What epochs of so many steps leave."""
    seeds, values = range(step.key.numel()), []
    for number, steps in enumerate(epochs):
        order = torch.stack([epoch_order(600, 10, seed, number)[:steps] for seed in seeds], 1)
        order = order.view(steps, *step.key.shape, 10)
        step.restart(order if ahead else None)
        for index in order:
            step(index)
        values.append(step.values.clone())
    return [*state_of(step), *values]


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_steps_leave_the_same(variant, seeds, monkeypatch):
    """In tables of 7 steps, which do not divide the epoch, and of more than an epoch."""
    for rows in (7, 10**6):
        monkeypatch.setitem(module.NUMBERS, "cpu", rows * seeds * 10 * 3 * (5 if "iwae" in variant else 1))
        try:
            steps = [made(dataset(), seeds, variant) for _ in range(2)]
        except Skip:
            steps = [made(dataset("continuous"), seeds, variant) for _ in range(2)]
        found = trained(steps[0], True)
        assert_identical(found, trained(steps[1], False))
        assert {len(table) for table in steps[0].ahead.tables.values()} <= {min(rows, EPOCH)}
        assert not steps[1].ahead.tables
        if variant in ("vae", "beta-vae", "iwae"):
            assert steps[0].ahead.tables
            assert steps[0]._run.replay.operations < steps[1]._run.replay.operations - 50


class Draws(Objective):
    """Draws numbers of its own besides: normal ones of another shape and of none of the images, and uniform ones."""

    def forward(self, draws):
        own = noise.normal(2, len(draws.batch.x), 5).sum((0, 2)) + noise.normal(4).sum() + noise.uniform(3).sum()
        return draws.log_weight.mean(0) + own * draws.z[0].square().sum((0, 2))


@pytest.mark.parametrize("seeds", [1, 2])
def test_each_call_gets_its_own_numbers(seeds):
    steps = [made(dataset(), seeds, objective=Draws) for _ in range(2)]
    assert_identical(trained(steps[0], True), trained(steps[1], False))
    assert list(steps[0].ahead.tables) == [2, 3, 4], "1 is the binarisation and 5 the uniform numbers"


def test_epochs_of_any_length_and_other_parts():
    """Shorter ones, as the timings run, begin anew where the last one left off in a table."""
    steps = [made(dataset(), nets=CONV) for _ in range(2)]
    epochs = (5, 1, EPOCH, 3, 7)
    assert_identical(trained(steps[0], True, epochs), trained(steps[1], False, epochs))


def test_a_step_that_draws_much_draws_for_itself(monkeypatch):
    monkeypatch.setitem(module.NUMBERS, "cpu", module.FEWEST * 10 * 3 - 1)
    step = made(dataset())
    trained(step, True)
    assert step.ahead.calls == {2: (1, 10, 3)}
    assert not step.ahead.tables


class Changes(Objective):
    """Calls that are not the same at each step: of another shape, and one more."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, draws):
        self.steps += 1
        extra = noise.normal(1, len(draws.batch.x), 1 + self.steps % 3)
        extra = extra.sum((0, 2)) + (noise.normal(1, len(draws.batch.x), 2).sum((0, 2)) if self.steps % 2 else 0)
        return draws.log_weight.mean(0) * (1 + extra)


@pytest.mark.filterwarnings("ignore:the training step is not replayed")
def test_calls_that_change_are_drawn_where_they_are_made():
    steps = [made(dataset(), objective=Changes) for _ in range(2)]
    assert_identical(trained(steps[0], True), trained(steps[1], False))


def test_once_drawn_ahead_it_needs_the_order():
    step = made(dataset())
    order = epoch_order(600, 10, 0, 0)
    trained(step, True, (3,))
    with pytest.raises(VaezooError, match="restart it with the order of the images to come; this one had 3 steps"):
        step(order[0])
    with pytest.raises(VaezooError, match=r"restart it with the order of the images to come$"):
        step(order[0])
    before = [step.position.clone(), step._keys.clone()]
    with pytest.raises(VaezooError, match=r"restart it with the order of the images to come$"):
        step.restart()
    with pytest.raises(VaezooError, match="an epoch has 60 steps, got an order of 120"):
        step.restart(order.repeat(2, 1))
    assert_identical(before, [step.position, step._keys])


@pytest.mark.parametrize("failing", [0, 1, 2, 4, 9])
def test_after_a_step_that_failed_it_begins_anew(failing):
    """With what the failed step left half-done, nothing is guessed: it asks for the order, and is then itself again."""
    step, other = (made(dataset()) for _ in range(2))
    order = epoch_order(600, 10, 0, 0)
    for each in (step, other):
        each.restart(order if each is step else None)
        for number in range(failing):
            each(order[number])
    run, step._run = step._run, lambda index: 1 / 0
    with pytest.raises(ZeroDivisionError):
        step(order[failing])
    step._run = run
    if failing > 1:
        with pytest.raises(VaezooError, match="restart it"):
            step(order[failing])
    for each in (step, other):
        each.restart(order[failing:] if each is step else None)
        for index in order[failing : failing + 12]:
            each(index)
    assert_identical([*state_of(step), step.values], [*state_of(other), other.values])


@pytest.mark.parametrize("latent", [3, 5])
def test_an_odd_number_of_latents_is_summed_in_the_same_order(latent):
    """The tables' rows lie in memory as the step's own numbers would."""
    key, index = torch.tensor(5), torch.arange(7)
    with noise.stream(key, index=index):
        own = noise.normal(2, 7, latent)
    assert own.stride() == noise.normals_of_calls(key, index, {1: (2, 7, latent)}, torch.float32)[1].stride()
    assert own.is_contiguous()


def test_normals_are_those_of_a_stream():
    key, index = torch.tensor(5), torch.tensor([3, 1, 4])
    with noise.stream(key, index=index):
        first, _, third = noise.normal(2, 3, 4), noise.uniform(7), noise.normal(6)
    found = noise.normals_of_calls(key, index, {1: (2, 3, 4), 3: (6,)}, torch.float32)
    assert torch.equal(found[1], first)
    assert torch.equal(found[3], third)
    with noise.stream(key, index=index, prefetched=found):
        assert noise.normal(2, 3, 4) is found[1]
        assert noise.uniform(7).shape == (7,)
        assert noise.normal(6) is found[3]
        after = noise.normal(2)
    with noise.stream(key, index=index) as opened:
        opened.calls = 3
        assert torch.equal(noise.normal(2), after)
