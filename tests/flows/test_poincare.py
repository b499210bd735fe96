"""The wrapped normal on the Poincare ball: its mass, its distances, its samples near the border."""

import math

import pytest
import torch

from vaezoo import noise
from vaezoo.flows.poincare import WrappedNormal, added, distance_from_centre, from_centre, log_isotropic


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
