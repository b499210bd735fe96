"""Free bits: the floor of each KL, of dimensions and of groups, of an image and of a batch."""

import pytest
import torch
from binary_draws import assert_weighted, drawn, trainee

from vaezoo import Skip, VaezooError


@pytest.mark.parametrize("per", ["dimension", "group"])
@pytest.mark.parametrize("average", [True, False])
def test_without_free_nats_it_is_the_elbo(per, average):
    model, free = trainee("free-bits", nats=0.0, per=per, average_batch=average)
    assert free.batch_coupled is average
    draws = drawn(model, 2)
    value = free(draws)
    elbo = trainee("elbo")[1](draws)
    torch.testing.assert_close(value.mean(), elbo.mean(), rtol=1e-12, atol=0)
    if not average:
        torch.testing.assert_close(value, elbo, rtol=1e-12, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("average", [True, False])
def test_each_dimension_costs_at_least_its_free_nats(average):
    model, free = trainee("free-bits", average_batch=average)
    draws = drawn(model, 1)
    kl = draws.kl[0]
    free.nats = float(kl.mean(0).median())  # one dimension costs more, one less
    expected = draws.log_likelihood[0].clone()
    for b in range(len(kl)):
        for j in range(kl.shape[1]):
            expected[b] = expected[b] - max(free.nats, float(kl[:, j].mean() if average else kl[b, j]))
    torch.testing.assert_close(free(draws), expected)


def test_a_dimension_below_its_free_nats_has_no_gradient_from_the_kl():
    model, free = trainee("free-bits", nats=1e3)
    draws = drawn(model, 1)
    assert not torch.autograd.grad(free.penalty(draws), draws.q.gaussian.mean, allow_unused=True)[0].any()


def test_a_kl_without_a_closed_form_is_one_of_groups():
    model, free = trainee("free-bits", "mixture", nats=0.0, per="group")
    draws = drawn(model, 3)
    assert draws.kl is None
    torch.testing.assert_close(free(draws).mean(), trainee("elbo", "mixture")[1](draws).mean())
    with pytest.raises(Skip, match='have none; use per = "group"'):
        trainee("free-bits", "mixture")[1](draws)


def test_the_weight_of_the_kl_is_honoured():
    assert_weighted("free-bits", "normal")


def test_negative_nats_are_refused():
    with pytest.raises(VaezooError, match="nats must be 0 or more, got -1"):
        trainee("free-bits", nats=-1.0)
