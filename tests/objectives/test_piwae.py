"""PIWAE: IWAE's bound for the decoder, MIWAE's for the encoder."""

import pytest
import torch
from binary_draws import drawn, trainee

from vaezoo import VaezooError


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_decoder_has_the_bound_of_all_samples_and_the_encoder_miwaes(weight):
    model, piwae = trainee("piwae", bounds=3, samples_per_bound=2)
    draws = drawn(model, piwae.importance_samples)
    draws.kl_weight = torch.tensor(weight, dtype=torch.float64)
    found = piwae(draws)
    for group, name, values in (
        ("generative", "iwae", {"importance_samples": 6}),
        ("inference", "miwae", {"bounds": 3, "samples_per_bound": 2}),
    ):
        torch.testing.assert_close(found[group], trainee(name, **values)[1](draws), rtol=1e-12, atol=0)
    assert (found["generative"] > found["inference"]).all()


def test_a_bound_without_samples_is_refused():
    with pytest.raises(VaezooError, match="must be 1 or more, got 4 and 0"):
        trainee("piwae", samples_per_bound=0)
