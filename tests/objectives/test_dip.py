"""DIP-VAE: its penalty of the covariance, written out, and the ELBO without it."""

from types import SimpleNamespace

import pytest
import torch
from binary_draws import assert_weighted, drawn, trainee

from vaezoo import Skip, VaezooError


@pytest.mark.parametrize("version", [1, 2])
def test_the_penalty_is_that_of_the_covariance(version):
    model, dip = trainee("dip", version=version, off_diagonal=3.0, diagonal=2.0)
    draws = drawn(model, 1)
    q = draws.q.gaussian
    covariance = torch.cov(q.mean.T, correction=0)
    if version == 2:
        covariance = covariance + torch.diag(q.log_std.exp().square().mean(0))
    size = len(covariance)
    expected = sum(
        2 * (covariance[i, i] - 1) ** 2 if i == j else 3 * covariance[i, j] ** 2
        for i in range(size)
        for j in range(size)
    )
    elbo = draws.log_likelihood.mean(0) - draws.kl_estimate
    torch.testing.assert_close(dip(draws), elbo - expected)


def test_without_a_penalty_it_is_the_elbo():
    model, dip = trainee("dip", off_diagonal=0.0, diagonal=0.0)
    draws = drawn(model, 2)
    torch.testing.assert_close(dip(draws), trainee("elbo")[1](draws), rtol=1e-12, atol=0)


def test_the_weight_of_the_kl_is_honoured():
    assert_weighted("dip", "normal")


@pytest.mark.parametrize("name", ["dip", "beta-tc"])
def test_a_posterior_that_is_no_gaussian_is_skipped(name):
    model, objective = trainee(name)
    draws = drawn(model, 1)
    draws.q = SimpleNamespace(gaussian=None)
    with pytest.raises(Skip, match=f"objective '{name}' needs a diagonal Gaussian"):
        objective(draws)


def test_a_negative_weight_is_refused():
    with pytest.raises(VaezooError, match="off_diagonal and diagonal must be 0 or more"):
        trainee("dip", diagonal=-1.0)
