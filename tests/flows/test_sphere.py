"""The von Mises-Fisher distribution: its normaliser, its density, its sampler and its implicit gradient."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from vaezoo import noise
from vaezoo.flows.bessel import log_normaliser, mean_cosine
from vaezoo.flows.sphere import VonMisesFisher, distance_slope, log_sphere_area

CONCENTRATIONS = (0.0, 1e-6, 0.3, 3.0, 40.0, 600.0)


def von_mises_fisher(size, concentration, dtype=torch.float64):
    mean = torch.zeros(1, size, dtype=dtype)
    mean[0, -1] = 1
    return VonMisesFisher(mean, torch.tensor([concentration], dtype=dtype))


@pytest.mark.parametrize("size", [2, 3, 10, 41])
def test_the_normaliser_is_that_of_scipys_bessel_function(size):
    k, order = torch.tensor(CONCENTRATIONS[2:], dtype=torch.float64), size / 2 - 1
    known = np.log(special.ive(order, k.numpy())) + special.gammaln(order + 1) + order * np.log(2 / k.numpy())
    np.testing.assert_allclose(log_normaliser(k, size), known, atol=1e-11, rtol=1e-11)
    single = log_normaliser(k.float(), size)
    torch.testing.assert_close(single.double(), log_normaliser(k.float().double(), size), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("size", [2, 3, 41, 300])
def test_its_derivatives_are_mean_and_variance_of_the_cosine(size):
    k = torch.tensor([*CONCENTRATIONS[2:], 3e4], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(log_normaliser(k, size).sum(), k, create_graph=True)
    torch.testing.assert_close(slope + 1, mean_cosine(k, size))
    (bend,) = torch.autograd.grad(slope.sum(), k)
    step = 1e-4 * k.detach()
    numeric = (mean_cosine(k + step, size) - mean_cosine(k - step, size)) / (2 * step)
    torch.testing.assert_close(bend, numeric.detach(), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 10])
def test_the_density_is_scipys(size):
    generator = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(50, 1, size, generator=generator, dtype=torch.float64), dim=-1)
    q = von_mises_fisher(size, 3.0)
    known = stats.vonmises_fisher(q.mean[0].numpy(), 3.0).logpdf(z[:, 0].numpy())
    np.testing.assert_allclose(q.log_prob((z,))[0, :, 0], known)


@pytest.mark.parametrize("size", [2, 3, 10])
def test_at_concentration_0_it_is_uniform(size):
    q = von_mises_fisher(size, 0.0)
    with noise.stream(0, index=torch.arange(1), dtype=torch.float64):
        (z,), log_q = q.rsample_and_log_prob(4000)
    torch.testing.assert_close(log_q, torch.full_like(log_q, -log_sphere_area(size)))
    assert float(q.kl_uniform()) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones_like(log_q[0]))
    known = stats.beta((size - 1) / 2, (size - 1) / 2)
    for axis in (0, -1):
        assert stats.kstest(0.5 + 0.5 * z[:, 0, axis].numpy(), known.cdf).pvalue > 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_infinite_at_a_large_concentration(dtype):
    mean = torch.eye(1, 5, dtype=dtype)
    k = torch.tensor([1e7], dtype=dtype, requires_grad=True)
    with noise.stream(0, index=torch.arange(1), dtype=dtype):
        q = VonMisesFisher(mean, k)
        (z,), log_q = q.rsample_and_log_prob(100)
    (z.square().sum() + log_q.sum() + q.kl_uniform().sum()).backward()
    for values in (z, log_q, k.grad):
        assert values.isfinite().all()


def test_the_implicit_gradient_in_three_dimensions_is_that_of_the_quantile():
    """There F(d) = (1 - exp(-k d)) / (1 - exp(-2 k)) in closed form."""
    u = torch.linspace(0.01, 0.99, 30, dtype=torch.float64)
    for concentration in (0.5, 4.0, 60.0):
        k = torch.full_like(u, concentration, requires_grad=True)
        d = -torch.log1p(-u * -torch.expm1(-2 * k)) / k
        (known,) = torch.autograd.grad(d.sum(), k)
        torch.testing.assert_close(distance_slope(k.detach(), d.detach(), 3), known, rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [2, 5, 40])
def test_the_mean_slope_is_that_of_the_mean(size):
    k = torch.tensor([7.0], dtype=torch.float64, requires_grad=True)
    mean = torch.eye(1, size, dtype=torch.float64)
    with noise.stream(3, index=torch.arange(1), dtype=torch.float64):
        (z,), _ = VonMisesFisher(mean, k).rsample_and_log_prob(4000)
    (found,) = torch.autograd.grad(z[..., 0].mean(), k)
    (known,) = torch.autograd.grad(mean_cosine(k, size), k)
    assert float(found) == pytest.approx(float(known), rel=0.08)
    cosine = z[:, 0, 0].detach()
    error = float(cosine.std()) / math.sqrt(4000)
    assert abs(float(cosine.mean()) - float(mean_cosine(k, size).detach())) < 5 * error
