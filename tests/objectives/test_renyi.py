"""The Rényi bound: its limits, its order, and that it is exact near alpha = 1."""

import itertools
import math

import pytest
import torch
from binary_draws import assert_weighted, drawn, trainee

from vaezoo import VaezooError, bounds
from vaezoo.objectives.renyi import NEAR_1, log_power_mean

LOG_WEIGHT = -90 + 20 * torch.randn(7, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_alpha_0_is_iwae_and_alpha_1_the_elbo():
    model, zero = trainee("renyi", "mixture", alpha=0.0)
    draws = drawn(model, 5)
    assert torch.equal(zero(draws), trainee("iwae", "mixture")[1](draws))
    torch.testing.assert_close(trainee("renyi", "mixture", alpha=1.0)[1](draws), bounds.elbo(draws), rtol=0, atol=0)
    for alpha in (1 - 1e-3, 1 + 1e-3):
        _, near = trainee("renyi", "mixture", alpha=alpha)
        first_order = (1 - alpha) / 2 * draws.log_weight.var(0, correction=0)
        torch.testing.assert_close(near(draws), bounds.elbo(draws) + first_order, rtol=0, atol=1e-5)


@pytest.mark.parametrize("power", [1e-3, -1e-3, 1e-9, -1e-9])
def test_near_alpha_1_it_is_the_mean_and_half_the_variance(power):
    found = log_power_mean(LOG_WEIGHT, power)
    expected = LOG_WEIGHT.mean(0) + power / 2 * LOG_WEIGHT.var(0, correction=0)
    torch.testing.assert_close(found, expected, rtol=0, atol=3e4 * power**2 + 1e-10)


def test_near_alpha_1_float32_is_exact_and_its_gradient_that_of_the_mean():
    narrow = LOG_WEIGHT.float().requires_grad_()
    found = log_power_mean(narrow, 1e-6)
    torch.testing.assert_close(found.double(), LOG_WEIGHT.mean(0), rtol=0, atol=1e-3)
    found.sum().backward()
    torch.testing.assert_close(narrow.grad, torch.full_like(narrow, 1 / 7), rtol=1e-3, atol=0)


@pytest.mark.parametrize("power", [NEAR_1 - 1e-12, -NEAR_1 + 1e-12])
def test_both_formulas_agree_where_they_meet(power):
    further = math.copysign(NEAR_1, power)
    torch.testing.assert_close(log_power_mean(LOG_WEIGHT, power), log_power_mean(LOG_WEIGHT, further))


def test_it_falls_as_alpha_rises_from_the_largest_weight_to_the_smallest():
    every = [log_power_mean(LOG_WEIGHT, power) for power in (math.inf, 5.0, 1.0, 0.05, 0.0, -0.05, -1.0, -50.0)]
    assert all((high >= low).all() for high, low in itertools.pairwise(every))
    assert torch.equal(every[0], LOG_WEIGHT.amax(0))


@pytest.mark.parametrize(("alpha", "bound"), [("-inf", False), (-0.5, False), (0.0, True), (1.0, True), (2.0, True)])
def test_it_is_a_lower_bound_from_alpha_0_on(alpha, bound):
    assert trainee("renyi", alpha=alpha)[1].lower_bound is bound


def test_vr_max_exceeds_log_p():
    """Where q is wide, the mean of the largest of many log w is above log p(x)."""
    model, largest = trainee("renyi", alpha="-inf", importance_samples=200)
    with torch.no_grad():
        draws = drawn(model, 200)
        assert (largest(draws) > bounds.iwll(draws)).all()


def test_the_weight_of_the_kl_is_honoured():
    assert_weighted("renyi", "normal")


def test_an_infinite_number_is_refused():
    with pytest.raises(VaezooError, match='or the text "-inf" for VR-max, got inf'):
        trainee("renyi", alpha=math.inf)
