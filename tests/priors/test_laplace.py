"""The Laplace prior: scipy's density, and its KL from a Gaussian by quadrature."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad
from small_prior import log_density, model_with

from vaezoo import DiagonalGaussian, VaezooError


def test_it_has_the_density_of_scipy():
    points = 3 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = stats.laplace.logpdf(points.numpy(), scale=0.7).sum(-1)
    np.testing.assert_allclose(log_density(model_with(("laplace", {"scale": 0.7}), 3), points).numpy(), expected)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.8, 0.3), (-3.0, 2.0)])
def test_its_kl_is_that_of_quadrature(mean, std):
    prior = model_with(("laplace", {"scale": 0.7}), 1).prior
    q = DiagonalGaussian(torch.tensor([[mean]]).double(), torch.tensor([[std]]).double().log())
    own, other = stats.norm(mean, std), stats.laplace(scale=0.7)
    ends = (mean - 10 * std, mean + 10 * std)
    expected, _ = quad(lambda z: own.pdf(z) * (own.logpdf(z) - other.logpdf(z)), *ends, points=[0.0])
    assert float(prior.kl(q)[0]) == pytest.approx(expected, rel=1e-6)


def test_a_scale_that_is_not_above_0_is_refused():
    with pytest.raises(VaezooError, match="scale must be above 0, got 0"):
        model_with(("laplace", {"scale": 0.0}), 1)
