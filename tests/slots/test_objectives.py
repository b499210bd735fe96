"""Every registered objective: identities between them, the weight of the KL, what couples a batch."""

import math

import pytest
import torch

import vaezoo
from vaezoo import Skip, bounds, noise
from vaezoo.builder import Ingredients, build, construct, resolve

BINARY = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(0)).round()


def trainee(objective, prior="normal", **values):
    data = vaezoo.Dataset(BINARY, BINARY, BINARY, measure="binary")
    few = {"components": 5} if prior != "normal" else {}
    slots = resolve("vae", data.spec, {"objective": (objective, values), "prior": (prior, few)})
    model, made = construct(slots, Ingredients.of(data, 3, (6,)))
    return model.double(), made.double()


def drawn(model, samples, images=6, seed=0):
    with noise.stream(seed, index=torch.arange(images), dtype=torch.float64):
        return model.draw(model.batch(BINARY[:images], index=torch.arange(images)), samples)


def values_of(value):
    return torch.stack([v.mean() for v in value.values()]) if isinstance(value, dict) else value


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


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_beta_weights_the_kl(beta, weight):
    model, objective = trainee("beta", beta=beta)
    draws = drawn(model, 3)
    draws.kl_weight = torch.tensor(weight, dtype=torch.float64)
    closed = draws.q.gaussian.kl_standard_normal().sum(-1)
    torch.testing.assert_close(objective(draws), draws.log_likelihood.mean(0) - beta * weight * closed)


@pytest.mark.parametrize("prior", ["normal", "mixture"])
@pytest.mark.parametrize("objective", vaezoo.names("objective"))
def test_the_weight_of_the_kl_is_honoured(objective, prior):
    """The default is 1; another changes the value; it comes as a tensor and reaches the value as one."""
    model, made = trainee(objective, prior)
    draws = drawn(model, made.importance_samples)
    whole = values_of(made(draws))
    draws.kl_weight = torch.tensor(1.0, dtype=torch.float64)
    assert torch.equal(values_of(made(draws)), whole)
    draws.kl_weight = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    part = values_of(made(draws))
    assert not torch.isclose(part, whole).all()
    (slope,) = torch.autograd.grad(part.sum(), draws.kl_weight)
    assert slope != 0


@pytest.mark.parametrize("objective", vaezoo.names("objective"))
def test_at_weight_0_the_kl_is_gone(objective):
    """What is left is the reconstruction: for K = 1 exactly log p(x|z), whatever the prior."""
    model, made = trainee(objective)
    if made.importance_samples != 1:
        draws = drawn(model, made.importance_samples)
        draws.kl_weight = torch.zeros((), dtype=torch.float64)
        before = values_of(made(draws))
        draws.log_prior = draws.log_prior + 3.0
        assert torch.equal(values_of(made(draws)), before)
        return
    draws = drawn(model, 1)
    draws.kl_weight = torch.zeros((), dtype=torch.float64)
    value = made(draws)
    if isinstance(value, dict) or value.ndim == 0:
        pytest.skip("an objective of its own kind")
    torch.testing.assert_close(value, draws.log_likelihood[0])


@pytest.mark.parametrize("objective", vaezoo.names("objective"))
def test_it_couples_a_batch_only_where_it_says_so(objective):
    model, made = trainee(objective)
    draws, fewer = drawn(model, made.importance_samples, 6), drawn(model, made.importance_samples, 2)
    value = made(draws)
    for found in value.values() if isinstance(value, dict) else [value]:
        assert found.shape in ((), (6,))
        assert found.isfinite().all()
    if not made.batch_coupled and not isinstance(value, dict) and value.ndim:
        torch.testing.assert_close(made(fewer), value[:2])


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


@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_objectives_never_reach_the_estimator(variant):
    """Models that differ in their objective alone say the same of every image."""
    x = BINARY.expand(-1, 1, 3, 3).repeat(15, 1, 1, 1)
    binary, continuous = (vaezoo.Dataset(x, x, x, measure=measure) for measure in ("binary", "continuous"))
    found = []
    for objective in vaezoo.names("objective"):
        try:
            model = build(variant, binary, latent=2, hidden=(4,), overrides={"objective": objective})
        except Skip:
            model = build(variant, continuous, latent=2, hidden=(4,), overrides={"objective": objective})
        found.append(vaezoo.log_likelihood(model, x[:5], 10).estimate)
    assert all(torch.equal(found[0], other) for other in found[1:])
