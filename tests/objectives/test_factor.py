"""FactorVAE: what its permutation keeps, what its discriminator estimates, and which parameters each value moves."""

import math

import pytest
import torch
from binary_draws import BINARY

import vaezoo
from vaezoo import VaezooError, noise
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.objectives.factor import Factor, permute_dimensions


def built(latent=3, **options):
    data = vaezoo.Dataset(BINARY, BINARY, BINARY, measure="binary")
    slots = resolve("vae", data.spec) | {"objective": ("factor", {"width": 8, "depth": 2, **options})}
    model, objective = construct(slots, Ingredients.of(data, latent, (4,)))
    return model, objective


def values(model, objective, seed=0):
    batch = model.batch(BINARY, index=torch.arange(len(BINARY)))
    with noise.stream(seed, index=batch.index):
        draws = model.draw(batch, objective.importance_samples)
        return draws, objective(draws)


def test_a_permutation_keeps_each_column_and_moves_each_by_itself():
    z = torch.arange(200.0).view(100, 2)
    permuted = permute_dimensions(z)
    assert torch.equal(permuted.sort(0).values, z)
    assert not torch.equal(permuted[:, 0], z[:, 0])
    assert not torch.equal(permuted[:, 0].argsort(), permuted[:, 1].argsort())


def test_the_permutation_is_a_function_of_the_steps_key():
    model, objective = built()
    one, again, other = (values(model, objective, seed)[1]["own"] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_without_a_weight_encoder_and_decoder_train_as_with_the_elbo():
    model, objective = built(gamma=0.0)
    draws, found = values(model, objective)
    elbo = draws.log_likelihood.mean(0) - draws.kl_estimate
    torch.testing.assert_close(found["inference"], elbo)
    torch.testing.assert_close(found["generative"], elbo)


def test_a_blind_discriminator_says_no_correlation_and_log_half():
    model, objective = built()
    torch.nn.init.zeros_(objective.discriminator[-1].weight)
    torch.nn.init.zeros_(objective.discriminator[-1].bias)
    _, found = values(model, objective)
    torch.testing.assert_close(found["inference"], found["generative"])
    torch.testing.assert_close(found["own"], torch.full_like(found["own"], math.log(0.5)))


def test_the_discriminators_value_moves_it_alone_and_it_moves_no_part_of_the_model():
    model, objective = built()
    _, found = values(model, objective)
    mine, others = list(objective.parameters()), list(model.parameters())
    assert all(
        g is None for g in torch.autograd.grad(found["own"].mean(), others, retain_graph=True, allow_unused=True)
    )
    assert all(g.any() for g in torch.autograd.grad(found["own"].mean(), mine, retain_graph=True))


def test_its_log_odds_after_training_are_the_total_correlation():
    """Of a Gaussian with correlation r it is -0.5 log(1 - r^2)."""
    correlation = 0.8
    torch.manual_seed(0)
    objective = Factor((1, 1), width=32, depth=2)
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)

    def joint(n):
        eps = torch.randn(n, 2)
        return torch.stack([eps[:, 0], correlation * eps[:, 0] + math.sqrt(1 - correlation**2) * eps[:, 1]], -1)

    for _ in range(600):
        z = joint(512)
        told = torch.nn.functional.logsigmoid
        loss = -told(objective.log_odds(z)).mean() - told(-objective.log_odds(permute_dimensions(z))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = float(objective.log_odds(joint(20000)).mean())
    assert found == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=0.06)


def test_several_groups_are_one_z():
    assert Factor((2, 3), width=4, depth=1).discriminator[0].in_features == 5


def test_the_discriminator_learns_at_its_own_rate():
    assert Factor((2,), discriminator_learning_rate=3e-4).learning_rates == {"own": 3e-4}


def test_hyper_parameters_out_of_range_are_refused():
    with pytest.raises(VaezooError, match="gamma must be 0 or more"):
        Factor((2,), gamma=-1.0)
    with pytest.raises(VaezooError, match="width and depth must be 1 or more"):
        Factor((2,), depth=0)
