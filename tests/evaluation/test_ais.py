"""Annealed importance sampling on the linear Gaussian model: unbiased, its steps frozen, bounds from both sides."""

import math
from itertools import pairwise

import pytest
import torch
from linear_model import linear_model

from vaezoo.core.errors import VaezooError
from vaezoo.evaluation import ais as annealing_module
from vaezoo.evaluation.ais import Annealing, ais, bdmc, sigmoid_schedule

IMAGES = 300


def ratio(known, **settings):
    """exp(estimate - log p) of each image: mean 1 where the estimate is unbiased."""
    return (ais(known.model, known.x, Annealing(**settings)) - known.log_p(known.x)).exp()


def assert_unbiased(values, largest):
    """The mean is 1 within 4 standard errors, and the test could have seen an error of `largest`."""
    error = float(values.std()) / math.sqrt(len(values))
    assert 4 * error < largest, f"standard error {error}"
    assert abs(float(values.mean()) - 1) < 4 * error, f"{float(values.mean())} ± {error}"


def test_the_estimate_is_unbiased():
    values = ratio(linear_model(3, images=IMAGES), chains=4, temperatures=40, leapfrogs=4)
    assert_unbiased(values, 0.15)


@pytest.mark.parametrize(("temperatures", "leapfrogs"), [(1, 1), (3, 1), (5, 3)])
def test_a_coarse_schedule_is_noisy_and_not_biased(temperatures, leapfrogs):
    known = linear_model(1, images=1000, noise=1.0)
    settings = {"chains": 20, "temperatures": temperatures, "leapfrogs": leapfrogs}
    assert_unbiased(ratio(known, **settings), 0.12)
    one = ais(known.model, known.x, Annealing(**{**settings, "chains": 1}))
    assert float((known.log_p(known.x) - one).mean()) > 0.02  # a lower bound in the mean, not the truth


def test_seeds_are_repeated_and_differ():
    known = linear_model(2)
    first = ais(known.model, known.x, Annealing(4, 5, 2, seed=1))
    assert torch.equal(first, ais(known.model, known.x, Annealing(4, 5, 2, seed=1)))
    assert not torch.equal(first, ais(known.model, known.x, Annealing(4, 5, 2, seed=2)))


def test_finer_schedules_come_closer():
    known = linear_model(3, images=50)
    log_p = known.log_p(known.x)
    miss = [float((log_p - ais(known.model, known.x, Annealing(2, t, 4))).mean()) for t in (3, 10, 60)]
    assert miss[0] > miss[1] > miss[2] > -0.1


@pytest.mark.parametrize("temperatures", [4, 40])
def test_bounds_from_both_sides_hold_the_truth_between_them(temperatures):
    """Mean lower <= mean log p <= mean upper on images simulated from the model; with more steps they close in."""
    known = linear_model(3)
    found = bdmc(known.model, IMAGES, Annealing(2, temperatures, 4))
    assert found.x.shape == (IMAGES, 6)
    truth = known.log_p(found.x)
    assert float(found.lower.mean()) <= float(truth.mean()) <= float(found.upper.mean())
    gap = float((found.upper - found.lower).mean())
    assert 0 < gap < (1 if temperatures == 40 else 20)


@pytest.mark.parametrize("temperatures", [3, 10])
def test_both_directions_are_unbiased(temperatures):
    """E[w] = p(x) forwards from the prior, and E[1/w] = 1/p(x) backwards from an exact draw of the posterior; with so
    wide a likelihood that 1/w has a variance.
    """
    known = linear_model(1, noise=3.0)
    found = bdmc(known.model, 8000, Annealing(2, temperatures, 2))
    truth = known.log_p(found.x)
    assert_unbiased((found.lower - truth).exp(), 0.05)
    assert_unbiased((truth - found.upper).exp(), 0.08)


def test_the_reverse_chain_uses_the_frozen_steps_of_the_pilot(monkeypatch):
    """One pilot; then the forward and the reverse sweep move with its sizes, step by step and image by image."""
    sweeps, moves = [], []
    sweep, move = annealing_module._sweep, annealing_module._move

    def seen_sweep(target, z, annealing, steps, *, pilot=False, reverse=False):
        sweeps.append((pilot, reverse))
        moves.append([])
        return sweep(target, z, annealing, steps, pilot=pilot, reverse=reverse)

    def seen_move(target, z, beta, step, leapfrogs):
        moves[-1].append((beta, step.clone(), leapfrogs))
        return move(target, z, beta, step, leapfrogs)

    monkeypatch.setattr(annealing_module, "_sweep", seen_sweep)
    monkeypatch.setattr(annealing_module, "_move", seen_move)
    bdmc(linear_model(2).model, 5, Annealing(3, 12, 2))
    assert sweeps == [(True, False), (False, False), (False, True)]
    forward, backward = moves[1], moves[2]
    assert len(forward) == 12
    for one, other in zip(forward, reversed(backward), strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])
        assert one[2] == other[2] == 2
    assert [beta for beta, *_ in forward] == sigmoid_schedule(12)[1:]
    sizes = torch.stack([step for _, step, _ in forward])
    assert sizes.shape == (12, 5)
    assert float(sizes.std()) > 0  # tuned, and not one size for all


def test_a_move_leaves_its_target_alone():
    """From exact draws of p(z) p(x|z)^beta, a move leads to draws of the same mean and variance, accepted or not."""
    known = linear_model(1, images=1)
    batch = known.model.batch(known.x)
    beta, chains = 0.3, 20000
    weights = known.model.decoder.net[0].weight.detach()[:, 0]
    precision = 1 + beta * float(weights.square().sum()) / 0.36
    centre = beta * float(weights @ (known.x[0] - known.mean)) / 0.36 / precision
    target = annealing_module._Target(known.model, batch, (1,))
    torch.manual_seed(0)
    z = centre + torch.randn(chains, 1, 1, dtype=torch.float64) / math.sqrt(precision)
    with torch.no_grad():
        moved, accept = annealing_module._move(target, z, beta, torch.tensor([1.2 / math.sqrt(precision)]).double(), 1)
    assert 0.3 < float(accept.mean()) < 0.95
    assert float((moved != z).double().mean()) == pytest.approx(float(accept.mean()), abs=0.02)
    assert float(moved.mean()) == pytest.approx(centre, abs=4 / math.sqrt(precision * chains))
    assert float(moved.var() * precision) == pytest.approx(1, abs=4 * math.sqrt(2 / chains))


def test_the_schedule_is_a_sigmoid_from_0_to_1():
    schedule = sigmoid_schedule(10)
    assert (schedule[0], schedule[-1], len(schedule)) == (0.0, 1.0, 11)
    steps = [b - a for a, b in pairwise(schedule)]
    assert min(steps) > 0
    assert max(steps) == pytest.approx(steps[4])
    assert steps == pytest.approx(steps[::-1])


@pytest.mark.parametrize("name", ["chains", "temperatures", "leapfrogs"])
def test_nothing_to_anneal_is_refused(name):
    with pytest.raises(VaezooError, match=f"{name} must be 1 or more, got 0"):
        Annealing(**{name: 0})
