"""The RealNVP prior: the standard normal at its start, normalised, sampled as its density says."""

import math

import pytest
import torch
from small_prior import log_density, model_with, sampled

from vaezoo import DiagonalGaussian
from vaezoo.conformance.grid import Grid

SMALL = ("realnvp", {"couplings": 4, "width": 8, "activation": "tanh"})


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_it_is_the_standard_normal_before_training(latent):
    model, normal = model_with("realnvp", latent, moved=False), model_with("normal", latent)
    assert torch.equal(sampled(model), sampled(normal))
    z = 3 * torch.randn(50, latent, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(log_density(model, z), log_density(normal, z))


@pytest.mark.parametrize("latent", [1, 2])
def test_its_density_integrates_to_1_and_is_that_of_its_samples(latent):
    model = model_with(SMALL, latent)
    samples = sampled(model, n=20000)
    grid = Grid(lambda points: log_density(model, points), samples)
    assert grid.integral("p(z)") == pytest.approx(1, abs=5e-3)
    grid.same_distribution(samples)  # raises where they differ
    start = DiagonalGaussian(torch.zeros(latent), torch.zeros(latent)).log_density(samples)
    assert (log_density(model, samples) - start).mean() > 0.03  # away from where it started


def test_in_one_dimension_it_is_a_gaussian():
    """A coupling has nothing to condition on there: one affine map of z remains."""
    model = model_with(SMALL, 1)
    samples, nought = sampled(model, n=1000), torch.zeros(1, 1, dtype=torch.float64)
    with torch.no_grad():
        shift = model.prior.flow(nought)[0][0, 0]
        scale = model.prior.flow(nought + 1)[0][0, 0] - shift
    expected = torch.distributions.Normal(shift, scale).log_prob(samples[:, 0])
    torch.testing.assert_close(log_density(model, samples), expected)
    assert abs(math.log(scale)) > 0.01


def test_its_log_density_is_the_change_of_variables():
    """log p(f(eps)) = log N(eps) - log |det df/deps|, by automatic differentiation."""
    model = model_with(SMALL, 3)
    eps = torch.randn(10, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    standard = DiagonalGaussian(torch.zeros(3), torch.zeros(3))
    for point in eps:
        jacobian = torch.autograd.functional.jacobian(lambda each: model.prior.flow(each)[0], point)
        with torch.no_grad():
            z = model.prior.flow(point)[0]
        expected = standard.log_density(point) - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(log_density(model, z[None])[0], expected)
