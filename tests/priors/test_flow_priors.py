"""The priors made of flows: the standard normal at their start, normalised, sampled as their density says."""

import pytest
import torch
from small_prior import log_density, model_with, sampled

from vaezoo import VaezooError
from vaezoo.conformance.grid import Grid

PRIORS = {
    "maf": ("maf", {"flows": 3, "width": 8, "activation": "tanh"}),
    "spline": ("spline", {"couplings": 2, "width": 8, "activation": "tanh", "bins": 3}),
}
each_prior = pytest.mark.parametrize("name", PRIORS)


@each_prior
@pytest.mark.parametrize("latent", [1, 2, 5])
def test_it_is_the_standard_normal_before_training(name, latent):
    model, normal = model_with(PRIORS[name], latent, moved=False), model_with("normal", latent)
    torch.testing.assert_close(sampled(model), sampled(normal))
    z = 3 * torch.randn(50, latent, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(log_density(model, z), log_density(normal, z))


@each_prior
@pytest.mark.parametrize("latent", [1, 2])
def test_its_density_integrates_to_1_and_is_that_of_its_samples(name, latent):
    model, normal = model_with(PRIORS[name], latent), model_with("normal", latent)
    samples = sampled(model, n=8000)
    grid = Grid(lambda points: log_density(model, points), samples)
    assert grid.integral("p(z)") == pytest.approx(1, abs=5e-3)
    grid.same_distribution(samples)  # raises where they differ
    assert (log_density(model, samples) - log_density(normal, samples)).mean() > 0.03  # away from where it started


def test_maf_in_one_dimension_is_a_gaussian():
    model = model_with(PRIORS["maf"], 1)
    with torch.no_grad():
        zero, one = model.prior.flow(torch.tensor([[0.0], [1.0]], dtype=torch.float64))[0][:, 0]
    samples = sampled(model, n=500)
    torch.testing.assert_close(
        log_density(model, samples), torch.distributions.Normal(zero, one - zero).log_prob(samples[:, 0])
    )


def test_no_flows_are_refused():
    with pytest.raises(VaezooError, match="the number of flows must be 1 or more, got 0"):
        model_with(("maf", {"flows": 0}), 2)
