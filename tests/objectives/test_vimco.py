"""VIMCO: in the mean its gradient is the derivative of the exact expectation of the bound, summed over all codes."""

import math

import pytest
import torch
from code_models import every, gradient, small

import vaezoo
from vaezoo import VaezooError
from vaezoo.objectives.vimco import without_each


@pytest.mark.parametrize(("samples", "block"), [(2, 2), (3, 2), (2, 1)])
def test_its_mean_gradient_is_the_derivative_of_the_exact_expectation(samples, block):
    model, objective, batch = small("vimco", samples, block)
    draws, probability = every(model, batch, samples)
    exact = gradient((probability * vaezoo.bounds.iwll(draws)).sum(), model, objective, "all")
    mean = gradient((probability.detach() * objective(draws)).sum(), model, objective, "all")
    assert torch.allclose(mean, exact, rtol=1e-9, atol=1e-12)
    assert float(exact.abs().max()) > 1e-3


def test_its_value_is_the_importance_weighted_bound():
    model, objective, batch = small("vimco", 3)
    draws = model.draw(batch, 3)
    assert torch.allclose(objective(draws), vaezoo.bounds.iwll(draws))


def test_the_baseline_of_a_sample_does_not_depend_on_its_weight():
    log_weight = torch.randn(4, 2, dtype=torch.float64)
    other = log_weight.clone()
    other[1] += 3
    assert torch.allclose(without_each(log_weight)[1], without_each(other)[1])
    expected = log_weight.clone()
    expected[1] = log_weight[[0, 2, 3]].mean(0)
    assert torch.allclose(without_each(log_weight)[1], expected.logsumexp(0) - math.log(4))


def test_a_single_sample_is_refused():
    with pytest.raises(VaezooError, match="importance_samples must be 2 or more, got 1"):
        small("vimco", 1)
    model, objective, batch = small("vimco", 2)
    with pytest.raises(VaezooError, match="needs 2 samples or more"):
        objective(model.draw(batch, 1))
