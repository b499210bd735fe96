"""The wrapped normal on the Poincare ball: its mass, its distances, its samples near the border."""

import math

import pytest
import torch

from vaezoo import noise
from vaezoo.flows.poincare import (
    RESOLVED,
    WrappedNormal,
    added,
    distance_from_centre,
    from_centre,
    log_isotropic,
    to_centre,
    widest,
)


def test_it_integrates_to_1_on_the_disc():
    q = WrappedNormal(torch.tensor([0.7, -0.4]).double(), torch.tensor([-0.5, 0.2]).double())
    r = (torch.arange(1500, dtype=torch.float64) + 0.5) / 150  # polar coordinates up to the distance 10
    angle = 2 * math.pi * (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    v = r[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)
    mass = q.log_density(from_centre(v)).exp() * torch.sinh(r)[:, None]
    assert float(mass.sum() / 150 * 2 * math.pi / 400) == pytest.approx(1, abs=1e-5)


def test_at_the_centre_it_is_the_isotropic_one():
    z = from_centre(torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    zero = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(WrappedNormal(zero, zero + math.log(0.7)).log_density(z), log_isotropic(z, 0.7))


def test_addition_is_an_isometry_and_has_an_inverse():
    x, y = (from_centre(torch.randn(9, 4, generator=torch.Generator().manual_seed(n)).double()) for n in (1, 2))
    torch.testing.assert_close(added(-x, added(x, y)), y)
    torch.testing.assert_close(distance_from_centre(added(-x, y)), distance_from_centre(added(-y, x)))


def test_the_logarithm_at_the_centre_is_the_inverse_of_the_exponential_map():
    v = 3 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(to_centre(from_centre(v)), v)


@pytest.mark.parametrize("latent", [1, 2, 10, 40, 200])
def test_samples_of_the_widest_law_stay_where_float32_tells_points_apart(latent):
    """And their log-densities by float32 points are those of float64 within 0.2 nats in the mean, 0.4 in 200
    dimensions.
    """
    mean = torch.zeros(1, latent, dtype=torch.float64)
    mean[0, 0] = 5.0
    with noise.stream(0, index=torch.arange(1), dtype=torch.float64):
        q = WrappedNormal(mean, torch.full_like(mean, math.log(widest(latent, 5.0))))
        (z,), _log_q = q.rsample_and_log_prob(4000)
    assert float((distance_from_centre(z) > RESOLVED).double().mean()) < 1e-3
    error = log_isotropic(z.float().double(), 1.0) - log_isotropic(z, 1.0)
    assert float(error.mean().abs()) < 0.2 * max(1, latent / 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_near_the_border_are_in_the_ball_and_have_finite_scores(dtype):
    mean = torch.full((1, 4), 5.0, dtype=dtype, requires_grad=True)
    with noise.stream(0, index=torch.arange(1), dtype=dtype):
        q = WrappedNormal(mean, torch.full((1, 4), math.log(3.0), dtype=dtype))
        (z,), log_q = q.rsample_and_log_prob(500)
    total = log_q.sum() + log_isotropic(z, 1.0).sum() + q.log_prob((z,)).sum()
    total.backward()
    assert float(z.detach().double().norm(dim=-1).max()) < 1
    assert total.isfinite()
    assert mean.grad.isfinite().all()
