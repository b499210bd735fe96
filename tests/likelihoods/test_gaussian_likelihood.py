"""The Gaussian likelihood: torch's density, and the floor of its standard deviation."""

import math

import pytest
import torch
from one_pixel import SCALES, assert_adds_up, made

from vaezoo import DataSpec, VaezooError
from vaezoo.registry import registry


@pytest.mark.parametrize("scale", SCALES)
def test_it_adds_up_at_every_scale_of_its_parameters(scale):
    """Also far out, where the proofs of `vaezoo check` do not go."""
    assert_adds_up("gaussian", DataSpec((1, 1, 1), "continuous"), scale)


@pytest.mark.parametrize("std", [0.002, 0.5, 30.0])
def test_gaussian_is_that_of_torch(std):
    likelihood = made("gaussian", DataSpec((2, 3), "continuous"))
    with torch.no_grad():
        likelihood.raw.fill_(std - likelihood.min_std + math.log(-math.expm1(-(std - likelihood.min_std))))
    torch.testing.assert_close(float(likelihood.std.detach()), std)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 2, 3, generator=generator, dtype=torch.float64)
    mean = torch.randn(4, 5, 2, 3, generator=generator, dtype=torch.float64)
    expected = torch.distributions.Normal(mean, std).log_prob(x).flatten(2).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(x, mean), expected)


def test_gaussian_keeps_above_its_floor():
    likelihood = made("gaussian", DataSpec((2, 3), "continuous"), torch.float32)
    torch.testing.assert_close(float(likelihood.std.detach()), 0.5)
    with torch.no_grad():
        likelihood.raw.fill_(-1000.0)
    torch.testing.assert_close(float(likelihood.std.detach()), 1e-3)
    x = torch.zeros(1, 2, 3)
    assert likelihood.log_prob(x, x[None]).isfinite().all()
    with pytest.raises(VaezooError, match=r"0 < min_std < initial_std is needed, got min_std=0.5, initial_std=0.1"):
        registry("likelihood")["gaussian"].target(DataSpec((2,), "continuous"), min_std=0.5, initial_std=0.1)
