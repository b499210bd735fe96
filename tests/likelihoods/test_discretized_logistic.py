"""The discretised logistic likelihood: scipy's bins, its tails, where it starts."""

import math

import numpy as np
import pytest
import torch
from one_pixel import SCALES, assert_adds_up, made
from scipy import stats

from vaezoo import DataSpec


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_it_adds_up_at_every_scale_of_its_parameters(levels, scale):
    """Also far out, where the proofs of `vaezoo check` do not go."""
    assert_adds_up("discretized-logistic", DataSpec((1, 1, 1 if levels == 256 else 2), "discrete", levels), scale)


def logistic_bins(levels, mean, scale):
    """log P of each level by scipy's logistic, differences taken on the side where they keep their digits."""
    edges = (np.arange(levels - 1) + 0.5) / (levels - 1)
    lower, upper = np.append(-np.inf, edges), np.append(edges, np.inf)
    right = (lower + upper) / 2 > mean
    right[0], right[-1] = False, True
    cdf, sf = stats.logistic(mean, scale).logcdf, stats.logistic(mean, scale).logsf
    big = np.where(right, sf(lower), cdf(upper))
    small = np.where(right, sf(upper), cdf(lower))
    return big + np.log1p(-np.exp(small - big))


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("mean", [-0.3, 0.0, 0.5, 0.777, 1.2])
@pytest.mark.parametrize("log_scale", [-6.9, -4.0, -2.0, 0.0, 3.0])
def test_discretized_logistic_is_that_of_scipy(levels, mean, log_scale):
    likelihood = made("discretized-logistic", DataSpec((1,), "discrete", levels))
    above = log_scale - likelihood.min_log_scale
    raw = above + math.log(-math.expm1(-above)) + 2.0 + likelihood.min_log_scale  # softplus undone
    parameters = torch.tensor([mean - 0.5, raw], dtype=torch.float64).view(1, 1, 2, 1).expand(1, levels, 2, 1)
    x = torch.arange(levels, dtype=torch.float64).view(-1, 1) / (levels - 1)
    found = likelihood.log_prob(x, parameters)[0]
    torch.testing.assert_close(
        found, torch.from_numpy(logistic_bins(levels, mean, math.exp(log_scale))), rtol=1e-7, atol=1e-7
    )


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_discretized_logistic_far_from_its_mean(levels):
    """Its tails fall linearly in the distance over the scale, as the logistic's do; nothing is clamped. float32."""
    likelihood = made("discretized-logistic", DataSpec((1,), "discrete", levels), torch.float32)
    raw = -30.0  # the floor, scale e^-7
    parameters = torch.tensor([[0.0, raw], [10.0, raw], [-10.0, raw]]).view(3, 1, 2, 1).expand(3, 2, 2, 1)
    value = likelihood.log_prob(torch.tensor([[0.0], [1.0]]), parameters)
    half = 0.5 / (levels - 1)
    expected = torch.tensor([[half - 0.5, half - 0.5], [half - 10.5, 0.0], [0.0, half - 10.5]]) * math.exp(7)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1.0 if levels == 2 else 0.2)


def test_discretized_logistic_starts_in_the_middle_with_a_scale_of_e_to_minus_2():
    likelihood = made("discretized-logistic", DataSpec((1,), "discrete", 17))
    mean, log_scale = likelihood._mean_and_log_scale(torch.zeros(1, 1, 2, 1, dtype=torch.float64))
    assert float(mean) == 0.5
    assert abs(float(log_scale) + 2) < 0.01
