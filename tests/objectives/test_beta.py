"""The beta-VAE objective: the weighted KL, and the ELBO at beta = 1."""

import pytest
import torch
from binary_draws import assert_weighted, drawn, trainee, without_kl


@pytest.mark.parametrize("prior", ["normal", "mixture", "vampprior"])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_beta_of_1_is_the_elbo(prior, weight):
    model, elbo = trainee("elbo", prior)
    _, beta = trainee("beta", prior, beta=1.0)
    draws = drawn(model, 3)
    draws.kl_weight = torch.tensor(weight, dtype=torch.float64)
    assert torch.equal(elbo(draws), beta(draws))
    parameters = list(model.parameters())
    one = torch.autograd.grad(elbo(draws).mean(), parameters, allow_unused=True, retain_graph=True)
    two = torch.autograd.grad(beta(draws).mean(), parameters, allow_unused=True)
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_beta_weights_the_kl(beta, weight):
    model, objective = trainee("beta", beta=beta)
    draws = drawn(model, 3)
    draws.kl_weight = torch.tensor(weight, dtype=torch.float64)
    closed = draws.q.gaussian.kl_standard_normal().sum(-1)
    torch.testing.assert_close(objective(draws), draws.log_likelihood.mean(0) - beta * weight * closed)


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_the_weight_of_the_kl_is_honoured(prior):
    assert_weighted("beta", prior)


def test_at_weight_0_what_is_left_is_the_reconstruction():
    draws, objective = without_kl("beta")
    torch.testing.assert_close(objective(draws), draws.log_likelihood[0])
