"""Pareto k-hat: right on samples of known shape, and decided for weights without a shape."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from linear_model import linear_model
from scipy.stats import genpareto

from vaezoo.evaluation import pareto
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.evaluation.pareto import RELIABLE, largest, pareto_k, tail_size

K = 5000


def weights(k, images=100, samples=K, seed=0):
    """log of generalised Pareto samples, [K, B]."""
    drawn = genpareto.rvs(k, size=(samples, images), random_state=np.random.default_rng(seed))
    return torch.from_numpy(np.log(drawn))


def k_hat(log_weight):
    return pareto_k(largest(log_weight, tail_size(len(log_weight)) + 1))


def one_fit(x):
    """Zhang and Stephens (2009) with the prior of arXiv:1507.02646, written down again for one ascending sample."""
    n, m = len(x), 30 + int(len(x) ** 0.5)
    quartile = x[int(n / 4 + 0.5) - 1]
    theta = np.array([1 / x[-1] + (1 - np.sqrt(m / (j - 0.5))) / (3 * quartile) for j in range(1, m + 1)])
    k = np.array([np.mean(np.log1p(-t * x)) for t in theta])
    profile = n * (np.log(-theta / k) - k - 1)
    weight = np.exp(profile - profile.max())
    k = np.mean(np.log1p(-np.sum(theta * weight) / weight.sum() * x))
    return (n * k + 5) / (n + 10)


def test_the_tail_is_that_of_the_paper():
    assert [tail_size(samples) for samples in (5000, 1000, 225, 224, 1)] == [213, 95, 45, 0, 0]


@pytest.mark.parametrize("k", [0.2, 0.5, 0.7, 1.0])
def test_k_of_known_samples(k):
    """The excess over a threshold has the same shape. The prior's bias is taken out; the fit's own is of order 1/M."""
    found, tail = k_hat(weights(k)), tail_size(K)
    unbiased = (found * (tail + 10) - 5) / tail
    error = float(unbiased.std()) / math.sqrt(len(found))
    assert abs(float(unbiased.mean()) - k) < 4 * error + 2 / tail
    assert float(unbiased.std()) == pytest.approx((1 + k) / math.sqrt(tail), rel=0.3)


def test_it_is_the_fit_of_the_paper():
    log_weight, tail = weights(0.6, 5), tail_size(K)
    sorted_weights = np.sort(np.exp(log_weight.numpy()), 0)
    expected = [one_fit(column[-tail:] - column[-tail - 1]) for column in sorted_weights.T]
    np.testing.assert_allclose(k_hat(log_weight).numpy(), expected, rtol=1e-9)


def test_the_scale_of_the_weights_changes_nothing():
    log_weight = weights(0.7, 20)
    for shift in (-1e4, -30.0, 1e4):
        torch.testing.assert_close(k_hat(log_weight + shift), k_hat(log_weight), rtol=1e-6, atol=1e-6)


def test_images_are_fitted_alone(monkeypatch):
    log_weight = weights(0.7, 7)
    whole = k_hat(log_weight)
    monkeypatch.setattr(pareto, "ELEMENTS", 1)
    torch.testing.assert_close(k_hat(log_weight), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block", [1, 213, 512, 5000])
def test_the_tail_is_the_same_for_every_block(block):
    log_weight = weights(0.5, 3)
    kept = log_weight[:0]
    for part in log_weight.split(block):
        kept = largest(torch.cat([kept, part]), 214)
        assert len(kept) <= 214
    assert torch.equal(kept.sort(0).values, log_weight.sort(0).values[-214:])


@pytest.mark.parametrize("spread", [0.0, 1e-5, 9e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_that_differ_by_rounding_alone_are_flat(spread, dtype):
    noise = torch.rand(500, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (k_hat((-100 + spread * noise).to(dtype)) == -math.inf).all()


def test_one_weight_that_holds_all_is_not_flat():
    log_weight = torch.full((500, 2), -100.0)
    log_weight[7] = torch.tensor([0.0, -99.3])  # all of the weight; a fiftieth of the tail's
    assert k_hat(log_weight).tolist() == [math.inf, -math.inf]


def test_tails_with_ties_have_a_shape():
    """Few distinct weights, as with discrete latents: a bounded tail."""
    levels = torch.randint(4, (500, 30), generator=torch.Generator().manual_seed(0)).double()
    found = k_hat(levels.clamp(min=1))  # most of the tail equals 3, the largest weight
    assert (found == -math.inf).all()
    for most in range(2, 9):  # 100 weights of 1, 2, .. most above many of 1; two or three levels above the threshold
        found = k_hat(torch.cat([torch.zeros(400, 1), (1 + torch.arange(100.0)[:, None] % most).log()]))
        assert float(found) < 0.3


def test_a_tail_beyond_the_range_of_floats_is_heavy():
    spread = torch.randn(500, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = k_hat(1e4 * spread)
    assert found.isfinite().all()
    assert (found > 10).all()


def test_weights_that_are_no_numbers_have_no_k():
    log_weight = weights(0.2, 4, 500)
    log_weight[3, 0], log_weight[4, 1], log_weight[:, 2], log_weight[:450, 3] = math.nan, math.inf, -math.inf, -math.inf
    found = k_hat(log_weight)
    assert found[:2].isnan().all()
    assert float(found[2]) == math.inf
    assert math.isfinite(float(found[3]))  # 50 samples with weight, of which all are the tail


def test_few_samples_have_no_k():
    assert k_hat(weights(0.2, 3, 224)).isnan().all()
    assert k_hat(weights(0.2, 3, 225)).isfinite().all()
    known = linear_model(2, scale=0.6)
    found = log_likelihood(known.model, known.x, 224)
    assert found.pareto_k.isnan().all()
    assert not found.lower_bound.any()


def test_the_estimate_has_the_k_of_all_its_weights(monkeypatch):
    known = linear_model(2, scale=0.6)
    drawn, original = [], known.model.draw_from

    def draw_from(q, batch, samples):
        draws = original(q, batch, samples)
        drawn.append(draws.log_weight)
        return draws

    known.model.draw_from = draw_from
    for block in (5 * 8 * 3000, 5 * 8 * 7):
        monkeypatch.setattr("vaezoo.evaluation.blocks.CPU_BLOCK", block)
        drawn.clear()
        found = log_likelihood(known.model, known.x, 3000)
        torch.testing.assert_close(found.pareto_k, k_hat(torch.cat(drawn)), rtol=1e-12, atol=1e-12)
        assert torch.equal(found.lower_bound, found.pareto_k > 0.7)


@pytest.mark.parametrize("images", [1, 19, 20, 140, 1000])
def test_the_95th_percentile_is_above_the_limit_where_more_than_5_percent_are(images):
    known = linear_model(1)
    found = log_likelihood(known.model, known.x, 100)
    for high in {0, 1, images // 20, images // 20 + 1, images}:
        k = torch.full((images,), 0.2, dtype=torch.float64)
        k[:high] = 0.71
        k = k[torch.randperm(images, generator=torch.Generator().manual_seed(0))]
        assert (replace(found, pareto_k=k).pareto_k_95 > RELIABLE) == (20 * high > images)
