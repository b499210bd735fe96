"""Reweighted wake-sleep, by exact sums over codes."""

import pytest
import torch
from code_models import every, gradient, small

import vaezoo
from vaezoo.conformance.ground import codes
from vaezoo.core.draws import Draws


def test_the_gradient_of_the_generative_group_is_that_of_the_bound():
    model, objective, batch = small("wake-wake", 3)
    draws = model.draw(batch, 3)
    found = gradient(objective(draws)["generative"].sum(), model, objective, "generative")
    assert torch.allclose(found, gradient(vaezoo.bounds.iwll(draws).sum(), model, objective, "generative"))


@pytest.mark.parametrize("exact", [False, True])
def test_q_does_not_move_at_one_sample_nor_where_it_is_the_posterior(exact):
    model, objective, batch = small("wake-wake", 3)
    samples = 1
    if exact:  # p(x|z) is the same for all z, and q the prior
        samples = 3
        with torch.no_grad():
            for layer in (m for part in (model.decoder, model.posterior_net) for m in part.modules()):
                if isinstance(layer, torch.nn.Linear):
                    layer.weight.zero_()
            model.posterior_net.heads[1].bias.copy_(model.prior.logits)
    draws, probability = every(model, batch, samples)
    mean = gradient((probability.detach() * objective(draws)["inference"]).sum(), model, objective, "inference")
    assert float(mean.abs().max()) < 1e-12


def test_q_is_moved_towards_the_posterior():
    model, objective, batch = small("wake-wake", 4)
    with torch.no_grad():  # a uniform q: of all codes once, w~ is the posterior
        for parameter in model.posterior_net.parameters():
            parameter.zero_()
    z = codes(model, batch)
    draws = Draws(model, batch, model.posterior(batch), z, model.log_posterior(batch, z))
    log_likelihood, log_prior = model.log_joint(batch, z)
    posterior = (log_likelihood + log_prior.sum(0)).softmax(0).detach()
    divergence = (posterior * (posterior.log() - draws.log_posterior.sum(0))).sum()
    found = gradient(objective(draws)["inference"].sum(), model, objective, "inference")
    assert torch.allclose(found, -gradient(divergence, model, objective, "inference"))
    assert float(found.abs().max()) > 1e-3
