"""The estimator's standard error is right, and a warning says where it cannot be: on the linear Gaussian model."""

import math
import warnings

import numpy
import pytest
import torch
from linear_model import linear_model

import vaezoo
from vaezoo.core.errors import VaezooWarning
from vaezoo.evaluation.estimate import log_likelihood

SAMPLES = 5000
POSTERIORS = {"wide": {"scale": 1.5}, "narrow": {"scale": 0.7}, "shifted": {"shift": 1.0}}
"""q's variance over the posterior's, and its mean's distance from the posterior's in standard deviations."""


@pytest.mark.parametrize("latents", [1, 2, 20])
def test_the_interval_covers_log_p_and_the_elbo_is_its_closed_form(latents):
    """100 images with noise of their own, q's variance 1.5 times the posterior's; nothing is warned of."""
    known = linear_model(latents, scale=1.5, images=100)
    found, log_p = log_likelihood(known.model, known.x, SAMPLES), known.log_p(known.x)
    covered = int(((found.estimate - log_p).abs() <= 1.96 * found.standard_error).sum())
    assert covered >= 88, f"{covered} of 100 intervals cover log p(x)"
    assert covered < 100

    miss = found.elbo - (log_p - known.divergence)
    spread = float(miss.std())
    assert abs(float(miss.mean())) < 4 * spread / 10
    assert float(miss.abs().max()) < 5 * spread
    assert known.divergence > 20 * spread / 10
    assert spread == pytest.approx(math.sqrt(latents * 0.5 * 0.25 / SAMPLES), rel=0.3)  # Var log w = Z (1.5 - 1)^2 / 2


def check_coverage(posterior, latents, samples, images):
    """90 % of the intervals hold log p(x) where k-hat is below 0.5; above 0.7 the estimate is a lower bound."""
    known = linear_model(latents, images=images, **POSTERIORS[posterior])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VaezooWarning)
        found = log_likelihood(known.model, known.x, samples)
    miss = found.estimate - known.log_p(known.x)
    covered, trusted, high = miss.abs() <= 1.96 * found.standard_error, found.pareto_k < 0.5, found.pareto_k > 0.7
    assert torch.equal(found.lower_bound, high)
    if (posterior, latents) == ("shifted", 20):
        assert high.all()
        assert int(covered.sum()) < 0.5 * images  # none of these intervals can be trusted
        assert int((miss < 0).sum()) > 0.8 * images
    else:
        assert int(trusted.sum()) > images / 3
        assert int(covered[trusted].sum()) >= 0.9 * int(trusted.sum())


@pytest.mark.parametrize("posterior", ["narrow", "shifted"])
def test_trusted_intervals_cover_log_p_and_the_others_are_lower_bounds(posterior):
    """The hardest cases. The sample's own second moment, without the fitted tail's, covers 86 % of the narrow one."""
    check_coverage(posterior, 20, 1000, 300)


@pytest.mark.nightly
@pytest.mark.parametrize("samples", [1000, 5000])
@pytest.mark.parametrize("latents", [1, 2, 20])
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_coverage_of_a_thousand_draws(posterior, latents, samples):
    check_coverage(posterior, latents, samples, 1000)


def test_the_fitted_tail_only_widens_the_interval():
    """Where the tail is bounded the error is that of the sample's own moments."""
    for scale, widened in ((1.5, 0.0), (0.7, 0.9)):
        known = linear_model(1, scale=scale, images=50)
        found = log_likelihood(known.model, known.x, 1000)
        own = ((1 / found.effective_samples - 1 / 1000) * 1000 / 999).sqrt()
        ratio = found.standard_error / own
        assert float(ratio.min()) > 1 - 1e-9
        assert float((ratio > 1.01).double().mean()) >= widened
        assert float(ratio.max()) < 2
        if not widened:
            assert float(ratio.max()) < 1.01


@pytest.mark.parametrize("latents", [1, 2, 20])
def test_the_effective_share_is_its_closed_form(latents):
    """E_q[w^2] / p^2 = (s / sqrt(v (2 s - v)))^Z with s = 1.5 v."""
    known = linear_model(latents, scale=1.5, images=50)
    found = log_likelihood(known.model, known.x, SAMPLES)
    share = (math.sqrt(2) / 1.5) ** latents
    assert float((found.effective_samples / SAMPLES).mean()) == pytest.approx(share, rel=0.02 * math.sqrt(latents))


def quadrature(known, nodes, latents):
    """log p(x) = logsumexp_i [log omega_i + log w(z_i)], Gauss and Hermite's nodes centred on q. [B]"""
    points, weights = (torch.from_numpy(a) for a in numpy.polynomial.hermite_e.hermegauss(nodes))
    eps = torch.cartesian_prod(*[points] * latents).view(-1, latents)
    omega = torch.cartesian_prod(*[weights.log()] * latents).view(-1, latents).sum(1)
    batch = known.model.batch(known.x)
    with torch.no_grad():
        q = known.model.posterior(batch).gaussian
        z = (q.mean + q.std * eps[:, None],)
        log_likelihood, log_prior = known.model.log_joint(batch, z)
        log_weight = log_likelihood + (log_prior - q.log_prob(z)).sum(0)
    return (omega[:, None] - 0.5 * latents * math.log(2 * math.pi) + log_weight).logsumexp(0)


@pytest.mark.parametrize("latents", [1, 2])
def test_quadrature_gives_log_p(latents):
    known = linear_model(latents, scale=1.5)
    log_p = known.log_p(known.x)
    for nodes in (32, 64):
        torch.testing.assert_close(quadrature(known, nodes, latents), log_p, rtol=0, atol=1e-6)


def test_the_estimate_is_given_at_a_quarter_a_half_and_all_of_the_samples():
    known = linear_model(2, scale=3.0)
    found = log_likelihood(known.model, known.x, 402)
    assert list(found.at) == [100, 201, 402]
    assert torch.equal(found.at[402], found.estimate)
    for samples in (100, 201):
        torch.testing.assert_close(found.at[samples], log_likelihood(known.model, known.x, samples).estimate)
    assert list(log_likelihood(known.model, known.x, 1).at) == [1]
    assert list(log_likelihood(known.model, known.x, 3).at) == [1, 3]


def test_stages_within_blocks_and_across_them(monkeypatch):
    known = linear_model(2, scale=3.0)
    whole = log_likelihood(known.model, known.x, 64)
    for block in (1, 5 * 8 * 7, 5 * 8 * 16, 5 * 8 * 40):
        monkeypatch.setattr("vaezoo.evaluation.blocks.CPU_BLOCK", block)
        blocked = log_likelihood(known.model, known.x, 64)
        for samples in (16, 32, 64):
            torch.testing.assert_close(blocked.at[samples], whole.at[samples], rtol=1e-12, atol=1e-12)


def test_heavy_tails_are_warned_of():
    known = linear_model(6, shift=3.5, images=40)
    with pytest.warns(VaezooWarning, match=r"Pareto k is above 0\.7 at K = 1,000 for \d+ of 40 images") as seen:
        found = log_likelihood(known.model, known.x, 1000)
    (warning,) = seen
    text = str(warning.message)
    high = int((found.pareto_k > 0.7).sum())
    assert high > 30
    assert int(found.lower_bound.sum()) == high
    assert f"for {high} of 40 images (largest {found.pareto_k.max():.2f}), so their estimates are lower bounds" in text
    assert "take more importance samples" in text
    assert "\n" not in text
    assert warning.filename == __file__


def test_an_estimate_that_still_rises_is_warned_of():
    """A q of less than half the posterior's variance: the weights' own is infinite, and the estimate creeps up."""
    known = linear_model(6, scale=0.3, images=1000)
    with pytest.warns(VaezooWarning, match=r"still rises with K, by 0\.\d+ nats from 125 to 250 and by 0\.\d+") as seen:
        found = log_likelihood(known.model, known.x, 500)
    assert len(seen) == 1
    first, second = ((found.at[many] - found.at[few]).mean() for few, many in ((125, 250), (250, 500)))
    assert f"by {first:.3f} nats from 125 to 250 and by {second:.3f} (standard error" in str(seen[0].message)
    assert float((known.log_p(known.x) - found.estimate).mean()) > 0.02


@pytest.mark.parametrize("samples", [4, 64, 99])
def test_a_quick_look_never_warns(samples):
    known = linear_model(6, shift=3.5, images=40)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        log_likelihood(known.model, known.x, samples)
    assert not said


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_a_good_posterior_warns_of_nothing(scale):
    """Over 50 seeds of 20 images; where q is exact, rounding alone makes the estimates differ."""
    known = linear_model(2, scale=scale, images=20)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for seed in range(50):
            vaezoo.log_likelihood(known.model, known.x, 200, seed=seed)
        log_likelihood(known.model.float(), known.x.float(), 200)
    assert not said


def test_images_without_weight_do_not_break_the_warning():
    known = linear_model(2, scale=1.5)
    original = known.model.likelihood.log_prob
    known.model.likelihood.log_prob = lambda x, parameters: torch.where(
        torch.arange(8) == 0, -math.inf, original(x, parameters)
    )
    with pytest.warns(VaezooWarning, match=r"for 1 of 8 images \(largest inf\)"):
        found = log_likelihood(known.model, known.x, 400)
    assert float(found.estimate[0]) == -math.inf
    assert found.estimate[1:].isfinite().all()
