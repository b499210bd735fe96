"""The importance-weighted objective: the bound, its gradient, the weight of the KL."""

import pytest
import torch
from binary_draws import assert_weighted, drawn, trainee, without_kl

from vaezoo import bounds


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_iwae_of_one_sample_is_the_elbo_bound(prior):
    model, objective = trainee("iwae", prior, importance_samples=1)
    draws = drawn(model, objective.importance_samples)
    torch.testing.assert_close(objective(draws), bounds.elbo(draws), rtol=1e-12, atol=0)


@pytest.mark.parametrize("samples", [2, 5, 50])
def test_iwae_is_the_importance_weighted_bound(samples):
    model, objective = trainee("iwae", importance_samples=samples)
    assert objective.importance_samples == samples
    draws = drawn(model, samples)
    torch.testing.assert_close(objective(draws), bounds.iwll(draws), rtol=1e-12, atol=0)
    exact = draws.log_weight.exp().mean(0).log()
    torch.testing.assert_close(objective(draws), exact)


@pytest.mark.parametrize("samples", [1, 7])
def test_iwae_gradient_is_that_of_the_normalised_weights(samples):
    """d/d theta log mean w = sum_k w~_k d log w_k, for the decoder."""
    model, objective = trainee("iwae", importance_samples=samples)
    draws = drawn(model, samples)
    parameters = list(model.decoder.parameters())
    found = torch.autograd.grad(objective(draws).sum(), parameters, retain_graph=True)
    weights = draws.log_weight.detach().softmax(0)
    expected = torch.autograd.grad((weights * draws.log_weight).sum(), parameters)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_the_weight_of_the_kl_is_honoured(prior):
    assert_weighted("iwae", prior)


def test_at_weight_0_what_is_left_is_the_reconstruction():
    draws, objective = without_kl("iwae")
    expected = draws.log_likelihood.exp().mean(0).log()
    torch.testing.assert_close(objective(draws), expected)
    draws.log_prior = draws.log_prior + 3.0
    torch.testing.assert_close(objective(draws), expected)
