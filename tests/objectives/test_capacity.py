"""The capacity: the distance of the KL from it, its rise, and the beta-VAE at 0."""

from dataclasses import replace

import pytest
import torch
from binary_draws import assert_weighted, drawn, trainee

from vaezoo import VaezooError


def test_capacity_0_is_the_beta_vae():
    model, capacity = trainee("capacity", gamma=3.0, capacity=0.0)
    draws = drawn(model, 2)
    torch.testing.assert_close(capacity(draws), trainee("beta", beta=3.0)[1](draws), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("progress", "now"), [(0.0, 0.0), (0.2, 4.0), (0.4, 8.0), (0.9, 8.0), (None, 8.0)])
def test_the_capacity_rises_and_then_stays(progress, now):
    model, capacity = trainee("capacity", gamma=10.0, capacity=8.0, rise=0.4)
    assert capacity.annealed_until == 0.4
    draws = drawn(model, 1)
    at = None if progress is None else torch.tensor(progress, dtype=torch.float64)
    draws.batch = replace(draws.batch, progress=at)
    expected = draws.log_likelihood[0] - 10 * (draws.kl_estimate - now).abs()
    torch.testing.assert_close(capacity(draws), expected)


def test_the_weight_of_the_kl_is_honoured():
    assert_weighted("capacity", "normal")


def test_hyper_parameters_out_of_range_are_refused():
    with pytest.raises(VaezooError, match="gamma and capacity must be 0 or more"):
        trainee("capacity", capacity=-1.0)
    with pytest.raises(VaezooError, match="rise must be a share of training, above 0 and at most 1, got 0"):
        trainee("capacity", rise=0.0)
