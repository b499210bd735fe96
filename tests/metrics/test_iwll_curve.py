"""The metric `iwll-curve`: its ends are the ELBO and the iwll, and it rises to the log p(x) of a model that has one."""

import math

import pytest
import torch
from linear_model import linear_model
from measuring import evaluation, metric

import vaezoo
from vaezoo.metrics.iwll_curve import bound


def curve(model, dataset, samples, **options):
    context = evaluation(dataset, samples=samples)
    assert metric("iwll-curve", model, dataset, context, **options) == {}
    return [context.vectors[f"iwll_curve{end}"] for end in ("_samples", "", "_standard_error")]


def test_its_ends_are_the_elbo_and_the_iwll_of_the_same_samples():
    """The samples are those of `log_likelihood`, so both ends agree within rounding, also over blocks of images."""
    wide = linear_model(scale=1.5, shift=0.5, images=120)
    samples, found, error = curve(wide.model, wide.dataset, 70, count=110)
    assert samples.tolist() == [1, 2, 5, 10, 20, 50, 70]
    expected = vaezoo.log_likelihood(wide.model, wide.x[:110], 70)
    torch.testing.assert_close(found[0], expected.elbo.mean())
    torch.testing.assert_close(found[-1], expected.estimate.mean())
    torch.testing.assert_close(error[-1], expected.standard_error.square().sum().sqrt() / 110, rtol=0.2, atol=0)


def test_it_rises_to_the_exact_log_likelihood():
    """L_1 is log p(x) - KL(q || p(z|x)) in expectation, and L_K comes within its error of log p(x) and of the bias of
    first order, half the variance of the weights over K.
    """
    wide = linear_model(scale=1.5, shift=0.3, images=100)
    exact = float(wide.log_p(wide.x).mean())
    _, found, error = curve(wide.model, wide.dataset, 5000)
    assert abs(float(found[0]) - (exact - wide.divergence)) < 5 * float(error[0])
    rises = found.diff()
    assert bool((rises > -3 * torch.hypot(error[1:], error[:-1])).all())
    assert bool((rises[:6] > 0).all())
    assert abs(float(found[-1]) - exact) < 5 * float(error[-1]) + 1e-3


def test_an_exact_posterior_gives_a_flat_curve_at_log_p():
    exact = linear_model(images=9)
    _, found, error = curve(exact.model, exact.dataset, 20)
    torch.testing.assert_close(found, exact.log_p(exact.x).mean().expand(5), rtol=1e-5, atol=1e-5)
    assert float(error.max()) < 1e-5
    _, found, error = curve(exact.model, exact.dataset, 1)
    assert found.shape == (1,)
    assert math.isnan(float(error[0]))


@pytest.mark.parametrize("k", [1, 3, 40])
def test_its_standard_error_is_the_spread_of_its_value(k):
    """Over 3000 images of one law, the variance that is claimed is on average the variance over the images."""
    generator = torch.Generator().manual_seed(0)
    values, variances = bound(0.3 * torch.randn(40, 3000, generator=generator, dtype=torch.float64), k)
    torch.testing.assert_close(variances.mean(), values.var(), rtol=0.12, atol=0)
