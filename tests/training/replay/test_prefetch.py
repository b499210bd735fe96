"""Prefetched noise is, to the last bit, the noise that each step would draw for itself."""

import pytest
import torch
from recorded_steps import CONV, assert_identical, dataset, made, made_on_images, state_of
from swept_variants import EVERY

from vaezoo import Objective, VaezooError, noise
from vaezoo.training.loop import epoch_order, packed_order
from vaezoo.training.replay import prefetch as module

EPOCH = 60
"""Steps, of which few are made."""


def without_prefetching(step):
    """The same step, told that it makes no calls of `normal`, so that it draws its numbers itself."""
    step.prefetched_noise.calls = {}
    return step


def trained(step, epochs=(20, 20)):
    """The state after epochs of so many steps."""
    seeds, values = range(step.key.numel()), []
    for number, steps in enumerate(epochs):
        step.start_epoch(packed_order(600, 10, seeds, number)[:steps].view(steps, *step.key.shape, 10))
        for _ in range(steps):
            step()
        values.append(step.values.clone())
    return [*state_of(step), *values]


@pytest.mark.parametrize("seeds", [pytest.param(1, marks=pytest.mark.nightly), 2])
@pytest.mark.parametrize("variant", EVERY)
def test_steps_leave_the_same(variant, seeds, monkeypatch):
    """In tables of 7 steps, which do not divide the epoch, and of more than an epoch."""
    for rows in (7, 10**6):
        monkeypatch.setitem(module.NUMBERS, "cpu", rows * seeds * 10 * 3 * (5 if "iwae" in variant else 1))
        steps = made_on_images(variant, seeds)
        assert_identical(trained(steps[0]), trained(without_prefetching(steps[1])))
        tables = [len(table) for table in steps[0].prefetched_noise.tables.values()]
        assert max(tables, default=0) <= min(2 * rows, EPOCH)  # a direction at right angles to another has 2 numbers
        assert not steps[1].prefetched_noise.tables
        if variant in ("vae", "beta-vae", "iwae"):
            assert steps[0].prefetched_noise.tables
            assert steps[0]._run.recording.operations < steps[1]._run.recording.operations - 50


class Draws(Objective):
    """Draws numbers of its own besides: normal ones of another shape and of none of the images, and uniform ones."""

    batch_coupled = True
    replayable = True

    def forward(self, draws):
        own = noise.normal(2, len(draws.batch.x), 5).sum((0, 2)) + noise.step.normal(4).sum()
        own = own + noise.step.uniform(3).sum() + draws.model.prior_sample(3)[0].sum()
        return draws.log_weight.mean(0) + own * draws.z[0].square().sum((0, 2))


@pytest.mark.parametrize("seeds", [1, 2])
def test_each_call_gets_its_own_numbers(seeds):
    steps = [made(dataset(), seeds, objective=Draws) for _ in range(2)]
    assert_identical(trained(steps[0]), trained(without_prefetching(steps[1])))
    assert list(steps[0].prefetched_noise.tables) == [2, 3], "1 is the binarisation; draws of no image follow"


def test_epochs_of_any_length_and_other_parts():
    """A shorter epoch, as the timings run, may end in the middle of a table."""
    steps = [made(dataset(), nets=CONV) for _ in range(2)]
    epochs = (5, 1, EPOCH, 3, 7)
    assert_identical(trained(steps[0], epochs), trained(without_prefetching(steps[1]), epochs))


def test_a_step_that_draws_much_draws_for_itself(monkeypatch):
    monkeypatch.setitem(module.NUMBERS, "cpu", module.FEWEST_STEPS * 10 * 3 - 1)
    step = made(dataset())
    trained(step)
    assert step.prefetched_noise.calls == {2: (1, 10, 3)}
    assert not step.prefetched_noise.tables


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
    assert_identical(trained(steps[0]), trained(without_prefetching(steps[1])))


@pytest.mark.parametrize("failing", [0, 1, 2, 4, 9])
def test_after_a_failed_step_an_epoch_begins_anew(failing):
    """The failed step may have left anything half-done, so the step asks for an order, and then computes as before."""
    step, other = made(dataset()), without_prefetching(made(dataset()))
    order = epoch_order(600, 10, 0, 0)
    for each in (step, other):
        each.start_epoch(order)
        for _ in range(failing):
            each()
    run, step._run = step._run, lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        step()
    step._run = run
    with pytest.raises(VaezooError, match=r"call start_epoch\(order\)"):
        step()
    for each in (step, other):
        each.start_epoch(order[failing:])
        for _ in range(12):
            each()
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
        first, _, third = noise.normal(2, 3, 4), noise.uniform(1, 3), noise.normal(1, 3)
    found = noise.normals_of_calls(key, index, {1: (2, 3, 4), 3: (1, 3)}, torch.float32)
    assert torch.equal(found[1], first)
    assert torch.equal(found[3], third)
    with noise.stream(key, index=index, prefetched=found):
        assert noise.normal(2, 3, 4) is found[1]
        assert noise.uniform(1, 3).shape == (1, 3)
        assert noise.normal(1, 3) is found[3]
        after = noise.normal(2, 3)
    with noise.stream(key, index=index) as opened:
        opened.calls = 3
        assert torch.equal(noise.normal(2, 3), after)
