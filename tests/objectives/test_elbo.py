"""The evidence lower bound: in closed form, and of samples."""

import math

import pytest
import torch
from binary_draws import assert_weighted, drawn, trainee, without_kl

from vaezoo import bounds


def test_the_elbo_without_a_closed_form_is_the_bound():
    model, elbo = trainee("elbo", "mixture", importance_samples=4)
    draws = drawn(model, 4)
    assert draws.kl is None
    torch.testing.assert_close(elbo(draws), bounds.elbo(draws))


def test_the_elbo_in_closed_form_is_the_bound_in_the_mean():
    model, elbo = trainee("elbo", importance_samples=20_000)
    with torch.no_grad():
        draws = drawn(model, 20_000)
        assert draws.kl is not None
        difference = (elbo(draws) - bounds.elbo(draws)).abs()
        spread = (draws.log_posterior - draws.log_prior).sum(0).std(0) / math.sqrt(20_000)
    assert (difference < 4 * spread).all()
    assert (difference > 0).all()


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_the_weight_of_the_kl_is_honoured(prior):
    assert_weighted("elbo", prior)


def test_at_weight_0_what_is_left_is_the_reconstruction():
    draws, objective = without_kl("elbo")
    torch.testing.assert_close(objective(draws), draws.log_likelihood[0])
