"""CIWAE: the ELBO at weight 1, IWAE's bound at weight 0, and what is between."""

import pytest
import torch
from binary_draws import assert_weighted, drawn, trainee

from vaezoo import VaezooError


@pytest.mark.parametrize("prior", ["normal", "mixture"])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_ends_are_elbo_and_iwae(prior, weight):
    model, elbo = trainee("elbo", prior)
    _, iwae = trainee("iwae", prior)
    draws = drawn(model, 5)
    draws.kl_weight = torch.tensor(weight, dtype=torch.float64)
    for share in (0.0, 0.25, 1.0):
        _, ciwae = trainee("ciwae", prior, elbo_weight=share)
        torch.testing.assert_close(ciwae(draws), share * elbo(draws) + (1 - share) * iwae(draws), rtol=1e-12, atol=0)


def test_the_weight_of_the_kl_is_honoured():
    assert_weighted("ciwae", "normal")


def test_a_weight_beyond_1_is_refused():
    with pytest.raises(VaezooError, match=r"elbo_weight must be in 0\.\.1, got 1\.5"):
        trainee("ciwae", elbo_weight=1.5)
