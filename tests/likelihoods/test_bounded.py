"""Likelihoods of pixels in [0, 1]: continuous Bernoulli and beta, as torch and scipy have them."""

import math

import pytest
import torch
from one_pixel import assert_adds_up, made
from torch import distributions

from vaezoo import DataSpec, Skip

SPEC = DataSpec((1, 1, 1), "continuous", 256)


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0, 30.0])
def test_continuous_bernoulli_adds_up(scale):
    assert_adds_up("continuous-bernoulli", SPEC, scale)


def test_beta_adds_up():
    """Away from shapes below 1, whose density is infinite at an end (`vaezoo check` integrates those)."""
    assert_adds_up("beta", SPEC, 0.0)


def test_continuous_bernoulli_is_that_of_torch():
    """Near l = 0 torch takes a series of low order, so that it is compared there with the exact value at 0."""
    likelihood = made("continuous-bernoulli", DataSpec((61,), "continuous", 256))
    logits = torch.linspace(-30, 30, 61, dtype=torch.float64)[None, None]
    x = torch.rand(1, 61, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torchs = distributions.ContinuousBernoulli(logits=logits)
    torch.testing.assert_close(likelihood.log_prob(x, logits), torchs.log_prob(x).sum(-1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(likelihood.mean(logits), torchs.mean, rtol=1e-6, atol=1e-6)
    one = made("continuous-bernoulli", SPEC)
    value = one.log_prob(torch.full((1, 1, 1, 1), 0.3, dtype=torch.float64), torch.zeros(1, 1, 1, 1, 1))
    assert abs(float(value)) < 1e-15  # log C(1/2) = log 2, and the cross-entropy is -log 2


@pytest.mark.parametrize("logit", [0.2499999, -0.2499999])
def test_the_series_of_the_continuous_bernoulli_meets_the_closed_form(logit):
    """Values and derivatives agree on both sides of the place where the series ends, and the mean is the derivative."""
    likelihood = made("continuous-bernoulli", DataSpec((2,), "continuous", 256))
    logits = torch.tensor([[[logit, logit * (1 + 1e-6)]]], dtype=torch.float64, requires_grad=True)
    value = likelihood.log_prob(torch.zeros(1, 2, dtype=torch.float64), logits)
    (slope,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(-slope, likelihood.mean(logits), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slope[..., 0], slope[..., 1], rtol=1e-7, atol=1e-7)
    expected = -math.log(math.expm1(logit) / logit) - math.log(math.expm1(logit * (1 + 1e-6)) / logit / (1 + 1e-6))
    torch.testing.assert_close(float(value.detach()), expected, rtol=1e-12, atol=1e-12)


def test_beta_is_that_of_torch():
    likelihood = made("beta", DataSpec((2, 3), "continuous", 256))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 2, 3, generator=generator, dtype=torch.float64)
    parameters = 4 * torch.randn(4, 5, 2, 2, 3, generator=generator, dtype=torch.float64)
    a, b = (1 / 3 + torch.nn.functional.softplus(parameters + math.log(math.expm1(2 / 3)))).unbind(2)
    expected = distributions.Beta(a, b)
    torch.testing.assert_close(likelihood.log_prob(x, parameters), expected.log_prob(x).flatten(2).sum(-1))
    torch.testing.assert_close(likelihood.mean(parameters), expected.mean)
    ends = torch.tensor([0.0, 1.0]).view(2, 1, 1).expand(2, 2, 3)
    assert likelihood.float().log_prob(ends, parameters[:, :2].float()).isfinite().all()


@pytest.mark.parametrize("name", ["continuous-bernoulli", "beta"])
def test_images_that_may_lie_anywhere_are_skipped(name):
    with pytest.raises(Skip, match=rf"{name} scores images in \[0, 1\], and these may lie anywhere; .*digits-dequant"):
        made(name, DataSpec((2,), "continuous"))
