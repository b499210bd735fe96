"""What changes over training, by `progress`, `update`, `refit` and Dropout, trains alike alone, packed and replayed."""

import math

import pytest
import torch
from changing_parts import WAYS, Annealed, Baseline, OptimalScale, sparse, with_scale
from small_models import dataset, pair

from vaezoo import Objective, VaezooError
from vaezoo.core import noise
from vaezoo.training import loop as training
from vaezoo.training import seed_run
from vaezoo.training.loop import make_step, train, train_pack
from vaezoo.training.options import TrainingOptions
from vaezoo.training.replay.recorded_step import RecordedStep

OPTIONS = TrainingOptions(epochs=4, batch_size=10, learning_rate=1e-2, validation_images=None)
SEEDS = (3, 1)


def state(model, objective):
    return [*model.state_dict().values(), *objective.state_dict().values()]


def trained(way, seed, eager=False, monkeypatch=None):
    data = dataset()
    made = WAYS[way](data, seed)
    steps = []
    if monkeypatch is not None:
        original = training.make_step

        def make(*given, **more):
            more["eager"] = eager
            steps.append(original(*given, **more))
            return steps[-1]

        monkeypatch.setattr(training, "make_step", make)
    outcome = train(*made, data, OPTIONS, seed=seed)
    return made, outcome, steps


@pytest.mark.parametrize("way", WAYS)
def test_replays_train_as_the_eager_run_does(way, monkeypatch):
    """Bit for bit."""
    found = []
    for eager in (False, True):
        with monkeypatch.context() as patch:
            made, outcome, [step] = trained(way, 3, eager, patch)
        assert (isinstance(step._run, RecordedStep) and step._run.recording is not None) != eager
        found.append((state(*made), [p.objective for p in outcome.history]))
    (one, curve), (other, expected) = found
    assert curve == expected
    assert all(torch.equal(*both) for both in zip(one, other, strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_packs_train_as_each_seed_does(way):
    data = dataset()
    pairs = [WAYS[way](data, seed) for seed in SEEDS]
    outcomes = train_pack(*zip(*pairs, strict=True), data, OPTIONS, seeds=SEEDS)
    for seed, made, outcome in zip(SEEDS, pairs, outcomes, strict=True):
        alone, expected, _ = trained(way, seed)
        curves = [torch.tensor([p.objective for p in each.history]) for each in (outcome, expected)]
        torch.testing.assert_close(*curves, rtol=1e-4, atol=1e-4)
        for one, other in zip(state(*made), state(*alone), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-2, atol=2e-3)


def test_with_dropout_the_posterior_that_scores_again_is_the_one_that_drew():
    """A second pass of a step has the masks of the first one, so that DReG's gradient is that of one q."""
    data = dataset()
    model, _ = sparse(data, 0)
    images, index = data.train.x[:6], torch.arange(6)
    with noise.stream(1, index=index):
        batch = model.train().batch(images, index=index)
        draws = model.draw(batch, 4)
        torch.testing.assert_close(draws.log_posterior_stopped, draws.log_posterior)
        assert torch.equal(model.log_likelihood(batch, draws.z), draws.log_likelihood)
        assert not torch.equal(model.eval().log_likelihood(batch, draws.z), draws.log_likelihood)


class Sees(Objective):
    """Notes the progress of each pass."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, draws):
        self.seen.append(float(draws.progress))
        return draws.log_weight.mean(0)


def test_progress_goes_from_0_to_1():
    data, seen = dataset(), []
    train(pair(data)[0], Sees(seen), data, TrainingOptions(epochs=2, batch_size=20))
    assert seen == pytest.approx([t / 5 for t in range(6)])


def test_progress_is_1_outside_training():
    data, seen = dataset(), []
    model, _ = pair(data)
    Sees(seen)(model.draw(model.batch(data.train.x[:3]), 1))
    assert seen == [1.0]


@pytest.mark.parametrize(("until", "best"), [(0.0, 1), (0.5, 3), (0.6, 3), (0.75, 4), (1.0, 4)])
def test_no_epoch_before_the_annealing_ends_is_chosen(until, best, monkeypatch):
    scores = iter([-1.0, -2.0, -3.0, -4.0])
    fake = type("Estimate", (), {"estimate": property(lambda _: torch.tensor(next(scores)))})
    monkeypatch.setattr(seed_run, "quick_look", lambda *given, **more: fake())
    data = dataset()
    model, objective = pair(data)
    model.prior.annealed_until = until
    assert train(model, objective, data, OPTIONS).best_epoch == best


@pytest.mark.parametrize("until", [-0.1, 20, True, "half"])
def test_an_annealing_that_is_no_fraction_is_refused(until):
    data = dataset()
    objective = Annealed()
    objective.annealed_until = until
    message = (
        rf"annealed_until of Annealed \(changing_parts.py:\d+\) must be a fraction of training in 0..1, got {until!r}"
    )
    with pytest.raises(VaezooError, match=message):
        train(pair(data)[0], objective, data, OPTIONS)


def test_a_moving_baseline_is_that_of_the_steps():
    """Each step's pass sees the baseline of the steps before it."""
    data = dataset()
    model, _ = pair(data)
    objective = Baseline()
    step = make_step(model, objective, data, TrainingOptions(batch_size=20, learning_rate=1e-9), 0)
    order = torch.arange(60).view(3, 20)
    step.start_epoch(order)
    expected = torch.zeros(())
    for number, index in enumerate(order):
        with noise.stream(noise.mix(step.key + torch.tensor(number) * noise.GOLDEN), index=index), torch.no_grad():
            draws = model.draw(model.batch(data.train.x[index], None, index), 1)
        expected = 0.9 * expected + 0.1 * draws.log_weight.mean()
        step()
        torch.testing.assert_close(objective.baseline, expected)
    assert int(objective.steps) == 3


def assigns(self, draws):
    self.calls = 1


def appends(self, draws):
    self.kept.append(1)


def moves(self, draws):
    self.weight.mul_(0.9)


class Updates(Baseline):
    def __init__(self, how):
        super().__init__()
        self.how, self.kept = how, []
        self.weight = torch.nn.Parameter(torch.ones(2))

    def update(self, draws):
        self.how(self, draws)


@pytest.mark.parametrize(("how", "name"), [(assigns, "calls"), (appends, "kept"), (moves, "weight")])
def test_an_update_of_anything_but_buffers_is_an_error_that_names_it(how, name):
    data = dataset()
    with pytest.raises(VaezooError, match=rf"update\(draws\) of Updates \(test_changes.py:\d+\) changes '{name}'"):
        train(pair(data)[0], Updates(how), data, OPTIONS)


def test_an_update_keeps_a_buffers_shape():
    def grows(self, draws):
        self.baseline = torch.zeros(3)

    data = dataset()
    with pytest.raises(VaezooError, match=r"must leave the buffer 'baseline' \[\] of torch.float32, got \[3\]"):
        train(pair(data)[0], Updates(grows), data, OPTIONS)


def test_refit_gets_the_same_training_images_and_other_draws_after_each_epoch():
    seen = []

    class Watches(OptimalScale):
        def refit(self, images, parameters):
            assert not torch.is_grad_enabled()
            seen.append((images, parameters(images), parameters(images)))

    data = dataset(1200, dynamic=True)
    model, objective = pair(data)
    model.likelihood = Watches(model.spec)
    train(model, objective, data, TrainingOptions(epochs=2, batch_size=600, learning_rate=1e-12), seed=4)
    (images, drawn, again), (same, other, _) = seen
    assert images.shape == (1000, 1, 3, 3)
    assert torch.equal(images, same)
    assert set(images.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(drawn, again)
    assert not torch.allclose(drawn, other)


def test_the_optimal_scale_is_the_best():
    """The derivative of the training images' log p(x|z) by log scale is 0 there."""
    data = dataset()
    model = with_scale(pair(data)[0])
    train(model, pair(data)[1], data, TrainingOptions(epochs=1, batch_size=20), seed=0)
    with noise.stream(noise.derive(0, "refit", 1), index=torch.arange(60)):
        index = torch.randperm(60, generator=torch.Generator().manual_seed(noise.derive(0, "refit")))
        batch = model.batch(data.train.x[index])
        z = model.draw(batch, 1).z
    scale = model.likelihood.log_scale.requires_grad_()
    (slope,) = torch.autograd.grad(model.log_likelihood(batch, z).mean(), scale)
    assert float(scale.detach()) != 0
    assert math.isclose(float(slope), 0, abs_tol=1e-3)


def test_a_refit_that_assigns_is_an_error_that_names_it():
    class Assigns(OptimalScale):
        def refit(self, images):
            self.log_scale = images.mean()

    data = dataset()
    model, objective = pair(data)
    model.likelihood = Assigns(model.spec)
    with pytest.raises(VaezooError, match=r"refit of Assigns \(test_changes.py:\d+\) assigns 'log_scale'"):
        train(model, objective, data, OPTIONS)
