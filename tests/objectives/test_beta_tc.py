"""beta-TCVAE: the sum over the batch written out, and the ELBO at weights of 1."""

import math

import pytest
import torch
from binary_draws import BINARY, assert_weighted, drawn, trainee
from torch.distributions import Normal

from vaezoo import VaezooError


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_weights_of_1_are_the_elbo(weight):
    model, objective = trainee("beta-tc", beta=1.0)
    draws = drawn(model, 2)
    draws.kl_weight = torch.tensor(weight, dtype=torch.float64)
    torch.testing.assert_close(objective(draws), trainee("elbo")[1](draws), rtol=1e-12, atol=0)


@torch.no_grad()
def test_it_is_the_sum_over_the_batch_written_out():
    alpha, beta, gamma, images = 0.5, 3.0, 2.0, 4
    model, objective = trainee("beta-tc", alpha=alpha, beta=beta, gamma=gamma)
    draws = drawn(model, 2, images)
    z, q = draws.z[0], draws.q.gaussian
    each = [Normal(q.mean[m], q.log_std[m].exp()) for m in range(images)]
    expected = torch.zeros(images, dtype=torch.float64)
    for b in range(images):
        added = 0.0
        for k in range(2):
            densities = torch.stack([each[m].log_prob(z[k, b]).exp() for m in range(images)])  # [B, Z]
            share = len(BINARY) * images
            joint = (densities.prod(1).sum() / share).log()
            product = (densities.sum(0) / share).log().sum()
            conditional = each[b].log_prob(z[k, b]).sum()
            prior = Normal(0.0, 1.0).log_prob(z[k, b]).sum()
            information, correlation, dimensions = conditional - joint, joint - product, product - prior
            assert math.isclose(float(information + correlation + dimensions), float(conditional - prior))
            added += (alpha - 1) * information + (beta - 1) * correlation + (gamma - 1) * dimensions
        expected[b] = draws.log_likelihood[:, b].mean() - draws.kl_estimate[b] - added / 2
    torch.testing.assert_close(objective(draws), expected)


def test_the_weight_of_the_kl_is_honoured():
    assert_weighted("beta-tc", "normal")


def test_a_negative_weight_is_refused():
    with pytest.raises(VaezooError, match="alpha, beta and gamma must be 0 or more, got 1, -1 and 1"):
        trainee("beta-tc", beta=-1.0)
