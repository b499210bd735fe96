"""MIWAE: IWAE's bound with one bound, the ELBO with one sample a bound."""

import math

import pytest
import torch
from binary_draws import assert_weighted, drawn, trainee

from vaezoo import VaezooError, bounds


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_one_bound_is_iwae(weight):
    model, miwae = trainee("miwae", bounds=1, samples_per_bound=6)
    _, iwae = trainee("iwae", importance_samples=6)
    draws = drawn(model, miwae.importance_samples)
    draws.kl_weight = torch.tensor(weight, dtype=torch.float64)
    torch.testing.assert_close(miwae(draws), iwae(draws), rtol=1e-12, atol=0)


def test_one_sample_a_bound_is_the_elbo():
    model, miwae = trainee("miwae", "mixture", bounds=6, samples_per_bound=1)
    draws = drawn(model, miwae.importance_samples)
    torch.testing.assert_close(miwae(draws), bounds.elbo(draws), rtol=1e-12, atol=0)


def test_it_is_the_mean_of_the_bounds_of_its_samples():
    model, miwae = trainee("miwae", bounds=3, samples_per_bound=2)
    assert miwae.importance_samples == 6
    draws = drawn(model, 6)
    weights = draws.log_weight.exp()
    each = [0.5 * (weights[n] + weights[n + 1]) for n in (0, 2, 4)]
    torch.testing.assert_close(miwae(draws), sum(map(torch.log, each)) / 3)
    assert math.isclose(float(draws.kl_weight), 1.0)


def test_the_weight_of_the_kl_is_honoured():
    assert_weighted("miwae", "mixture")


def test_samples_that_the_bounds_do_not_divide_are_refused():
    model, miwae = trainee("miwae", bounds=3, samples_per_bound=2)
    with pytest.raises(VaezooError, match="4 samples cannot be divided among 3 bounds"):
        miwae(drawn(model, 4))
    with pytest.raises(VaezooError, match="bounds and samples_per_bound must be 1 or more, got 0 and 4"):
        trainee("miwae", bounds=0)
