"""A run of training: repeatable, clipped, its divergence caught, its best epoch kept."""

import itertools
import math

import pytest
import torch
from small_models import dataset, pair

from vaezoo import Objective, VaezooError, noise
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.training import seed_run
from vaezoo.training.loop import epoch_order, make_step, train
from vaezoo.training.options import TrainingOptions
from vaezoo.training.seed_run import Diverged
from vaezoo.training.validation import STATED_SAMPLES


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def run(settings, seed=0, dynamic=False, **options):
    data = dataset(dynamic=dynamic)
    model, objective = pair(data, **options)
    return model, train(model, objective, data, settings, seed=seed)


@pytest.mark.parametrize("dynamic", [False, True])
def test_one_seed_repeats_and_another_differs(dynamic):
    settings = TrainingOptions(epochs=3, batch_size=16)
    (first, one), (again, two), (other, three) = (run(settings, seed, dynamic) for seed in (1, 1, 2))
    torch.manual_seed(5)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert [p.objective for p in one.history] == [p.objective for p in two.history]
    assert not any(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert [p.objective for p in one.history] != [p.objective for p in three.history]


def test_torchs_generator_has_no_say_and_is_left_alone():
    settings = TrainingOptions(epochs=2, batch_size=16)
    torch.manual_seed(1)
    first, _ = run(settings)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second, _ = run(settings)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_training_raises_the_objective():
    _, outcome = run(TrainingOptions(epochs=30, batch_size=20, learning_rate=1e-2, validation_images=None))
    values = [p.objective for p in outcome.history]
    assert values[-1] > values[0] + 0.3
    assert outcome.best_iwll > outcome.history[0].validation_iwll


@pytest.mark.parametrize(("images", "batch", "steps"), [(60, 16, 3), (60, 60, 1), (60, 100, 1), (7, 2, 3)])
def test_an_epoch_is_of_full_batches_of_different_images(images, batch, steps):
    order = epoch_order(images, batch, 0, 1)
    assert order.shape == (steps, min(batch, images))
    assert len(order.unique()) == order.numel()
    assert 0 <= int(order.min()) <= int(order.max()) < images
    assert torch.equal(order, epoch_order(images, batch, 0, 1))
    if images > 10:
        assert not torch.equal(order, epoch_order(images, batch, 0, 2))
        assert not torch.equal(order, epoch_order(images, batch, 1, 1))


def test_the_noise_of_two_steps_and_two_seeds_differs():
    data = dataset(dynamic=True)
    seen = []
    for seed in (0, 1):
        model, objective = pair(data)
        step = make_step(model, objective, data, TrainingOptions(batch_size=5, epochs=1), seed)
        step.module.forward = lambda stored, index, key, *rest, own=step.module.forward: (
            seen.append(key.clone()),
            own(stored, index, key, *rest),
        )[1]
        step.start_epoch(torch.arange(5).repeat(3, 1))
        for _ in range(3):
            step()
    assert len({int(key) for key in seen}) == 6


@pytest.mark.parametrize("bound", [1e-3, 0.5])
def test_clipping_bounds_the_norm_of_the_whole_gradient(bound):
    data = dataset()
    norms = []
    for clip in (None, bound):
        model, objective = pair(data)
        step = make_step(model, objective, data, TrainingOptions(batch_size=20, gradient_clip=clip), 0)
        step.start_epoch(torch.arange(20)[None])
        step()
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert float(norms[0].norm()) > bound
    torch.testing.assert_close(float(norms[1].norm()), bound, rtol=1e-3, atol=0)
    torch.testing.assert_close(norms[1] / norms[1].norm(), norms[0] / norms[0].norm())


def test_a_gradient_under_the_bound_is_left_alone():
    data = dataset()
    gradients = []
    for clip in (None, 1e6):
        model, objective = pair(data)
        step = make_step(model, objective, data, TrainingOptions(batch_size=20, gradient_clip=clip), 0)
        step.start_epoch(torch.arange(20)[None])
        step()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


class Breaks(Objective):
    """The ELBO until a step, then something else."""

    def __init__(self, at, value):
        super().__init__()
        self.at, self.value = at, value
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, draws):
        value = draws.log_weight.mean(0)
        self.steps += 1
        return value - torch.where(self.steps == self.at, self.value, 0.0)


@pytest.mark.parametrize(("at", "epoch"), [(1, 1), (3, 1), (4, 2), (8, 3)])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_objective_that_is_not_finite_is_a_divergence_with_its_step(at, epoch, value):
    data = dataset()
    model, _ = pair(data)
    shown = "nan" if math.isnan(value) else "-inf"
    with pytest.raises(Diverged, match=rf"the objective is {shown} at step {at} \(epoch {epoch}\)"):
        train(model, Breaks(at, value), data, TrainingOptions(epochs=3, batch_size=20))


def test_a_likelihood_that_becomes_nan_is_a_divergence_with_its_step():
    data = dataset()
    model, objective = pair(data)
    original, calls = model.likelihood.log_prob, itertools.count(1)

    def log_prob(x, parameters):
        value = original(x, parameters)
        return value * math.nan if next(calls) == 2 else value

    model.likelihood.log_prob = log_prob
    with pytest.raises(Diverged, match=r"the objective is nan at step 2 \(epoch 1\)"):
        train(model, objective, data, TrainingOptions(epochs=2, batch_size=20))


def test_weights_that_are_nan_after_the_last_step_are_found_by_validation():
    data = dataset()
    model, _ = pair(data)

    class Poisons(Objective):
        """A finite value with a gradient that is not."""

        def forward(self, draws):
            weight = draws.log_weight.mean(0)
            return weight + (weight - weight.detach()).abs().sqrt()

    with pytest.raises(Diverged, match=r"validation iwll is nan after step 1 \(epoch 1\)"):
        train(model, Poisons(), data, TrainingOptions(epochs=2, batch_size=60, validation_images=None))


def scores_of(monkeypatch, scores):
    """Make validation give these scores, one an epoch; the states of the model at each."""
    remaining, kept = iter(scores), []

    def fake(model, x, samples, context):
        kept.append(state(model))
        return type("Estimate", (), {"estimate": torch.tensor([next(remaining)], dtype=torch.float64)})

    monkeypatch.setattr(seed_run, "quick_look", fake)
    return kept


@pytest.mark.parametrize(
    ("scores", "warmup", "best"),
    [
        ([-5.0, -3.0, -4.0, -6.0], 0.0, 2),
        ([-1.0, -2.0, -9.0, -8.0], 2.0, 4),
        ([-1.0, -2.0, -9.0, -8.0], 1.5, 2),
        ([-1.0, -2.0, -3.0, -4.0], 10.0, 4),
        ([-3.0, -2.0, -2.0, -5.0], 0.0, 2),
    ],
)
def test_the_best_epoch_after_the_warm_up_is_kept(monkeypatch, scores, warmup, best):
    kept = scores_of(monkeypatch, scores)
    model, outcome = run(TrainingOptions(epochs=4, batch_size=20, kl_warmup=warmup, validation_images=None))
    assert (outcome.best_epoch, outcome.best_iwll) == (best, scores[best - 1])
    assert [p.validation_iwll for p in outcome.history] == scores
    assert all(torch.equal(value, kept[best - 1][name]) for name, value in state(model).items())
    assert not all(torch.equal(value, kept[best % 4][name]) for name, value in state(model).items())


@pytest.mark.parametrize(("patience", "stop"), [(1, 4), (2, 5), (None, 7), (6, 7)])
def test_patience_stops(monkeypatch, patience, stop):
    scores_of(monkeypatch, [-5.0, -4.0, -3.0, -4.0, -5.0, -6.0, -7.0])
    _, outcome = run(TrainingOptions(epochs=7, batch_size=20, patience=patience, validation_images=None))
    assert len(outcome.history) == stop
    assert outcome.best_epoch == 3


def test_patience_waits_for_the_warm_up(monkeypatch):
    scores_of(monkeypatch, [-1.0, -2.0, -3.0, -3.5, -3.2, -9.0, -9.0])
    _, outcome = run(TrainingOptions(epochs=7, batch_size=20, patience=2, kl_warmup=3, validation_images=None))
    assert (outcome.best_epoch, len(outcome.history)) == (5, 7)


def test_validation_is_the_estimator_on_the_validation_images():
    data = dataset()
    model, objective = pair(data)
    outcome = train(model, objective, data, TrainingOptions(epochs=1, batch_size=20, validation_images=7))
    expected = log_likelihood(model, data.valid.x[:7], STATED_SAMPLES, seed=0).estimate.mean()
    torch.testing.assert_close(outcome.best_iwll, float(expected))


def test_the_report_is_called_each_epoch():
    data = dataset()
    model, objective = pair(data)
    seen = []
    outcome = train(model, objective, data, TrainingOptions(epochs=3, batch_size=20), report=seen.append)
    assert seen == outcome.history
    assert [(p.epoch, p.epochs) for p in seen] == [(1, 3), (2, 3), (3, 3)]
    assert 0 < seen[0].seconds < seen[2].seconds == outcome.seconds


@pytest.mark.parametrize("settings", [TrainingOptions(epochs=0), TrainingOptions(batch_size=0)])
def test_no_epochs_and_no_batch_are_refused(settings):
    with pytest.raises(VaezooError, match="epochs and batch_size must be 1 or more, got"):
        run(settings)


def test_the_values_of_an_epoch_are_those_of_its_steps():
    data = dataset()
    model, objective = pair(data)
    step = make_step(model, objective, data, TrainingOptions(batch_size=20, learning_rate=0.0), 0)
    found = []
    order = epoch_order(60, 20, 0, 1)
    step.start_epoch(order)
    for index in order:
        key = noise.mix(step.key + torch.tensor(step.count) * noise.GOLDEN)
        with torch.no_grad():
            found.append(float(step.module(data.train.x[index], index, key, torch.ones(()))[0]["all"]))
        step()
    torch.testing.assert_close(step.values, torch.tensor(found))


def test_dynamic_images_are_binarised_anew_each_step():
    data = dataset(dynamic=True)
    model, objective = pair(data)
    step = make_step(model, objective, data, TrainingOptions(batch_size=20), 0)
    seen = []
    original = model.batch
    model.batch = lambda x, *rest: (seen.append(x.clone()), original(x, *rest))[1]
    step.start_epoch(torch.arange(20).repeat(2, 1))
    for _ in range(2):
        step()
    assert not torch.equal(seen[0], seen[1])
    assert set(seen[0].unique().tolist()) == {0, 1}


def test_a_step_takes_the_rows_of_its_order_in_turn():
    data = dataset()
    step = make_step(*pair(data), data, TrainingOptions(batch_size=20), 0)
    seen, forward = [], step.module.forward
    step.module.forward = lambda stored, index, *rest: (seen.append(index.clone()), forward(stored, index, *rest))[1]
    order = epoch_order(60, 20, 0, 1)
    step.start_epoch(order)
    order_as_given = order.clone()
    order.zero_()
    for _ in range(3):
        step()
    assert torch.equal(torch.stack(seen), order_as_given)
    for _ in range(2):
        with pytest.raises(VaezooError, match=r"no step is left of the epoch's order: call start_epoch\(order\)"):
            step()
    step.start_epoch(order_as_given[2:])
    step()
    assert torch.equal(seen[-1], order_as_given[2])
    assert step.count == len(seen) == 4


def test_a_step_without_an_epoch_is_refused():
    data = dataset()
    with pytest.raises(VaezooError, match=r"call start_epoch\(order\) before the next step"):
        make_step(*pair(data), data, TrainingOptions(batch_size=20), 0)()


@pytest.mark.parametrize("shape", [(4, 20), (0, 20), (3, 19), (3,), (1, 3, 20)])
def test_an_order_of_another_shape_is_refused_and_changes_nothing(shape):
    data = dataset()
    step = make_step(*pair(data), data, TrainingOptions(batch_size=20), 0)
    step.start_epoch(epoch_order(60, 20, 0, 1))
    step()
    got = ", ".join(map(str, shape))
    message = rf"the order of an epoch must be \[1 to 3 steps, 20\], got \[{got}\]"
    with pytest.raises(VaezooError, match=message):
        step.start_epoch(torch.zeros(shape, dtype=torch.int64))
    assert int(step.position) == 1
    step()
