"""The data set whose likelihood is known: its density and moments, and the best linear model of it."""

import numpy as np
import pytest
import torch
from loading import nothing_kept  # noqa: F401
from scipy.stats import multivariate_normal

import vaezoo
from vaezoo import VaezooError
from vaezoo.datasets import load_dataset
from vaezoo.datasets.linear_gaussian import LinearGaussian, ppca_optimum


def test_linear_gaussian_log_likelihood_is_scipys():
    dataset = load_dataset("linear-gaussian", options={"dimensions": 7, "latents": 2, "noise": 0.3, "images": 50})
    truth = dataset.log_likelihood
    assert isinstance(truth, LinearGaussian)
    covariance = truth.weights @ truth.weights.T + 0.09 * torch.eye(7, dtype=torch.float64)
    expected = multivariate_normal(truth.mean.numpy(), covariance.numpy()).logpdf(dataset.test.x.double().numpy())
    np.testing.assert_allclose(truth(dataset.test.x).numpy(), expected, rtol=1e-10)


def test_linear_gaussian_has_orthogonal_columns_and_the_moments_it_says():
    dataset = load_dataset("linear-gaussian", seed=4, options={"images": 40_000})
    assert dataset.spec == vaezoo.DataSpec((10,), "continuous")
    assert [len(s) for s in (dataset.train, dataset.valid, dataset.test)] == [40_000, 1000, 1000]
    truth = dataset.log_likelihood
    assert torch.allclose(truth.weights.T @ truth.weights, torch.tensor([4.0, 2.25, 1.0]).double().diag(), atol=1e-12)
    x = dataset.train.x.double()
    assert torch.allclose(x.mean(0), truth.mean, atol=0.05)
    assert torch.allclose(x.T.cov(), truth.covariance, atol=0.1)


def test_more_training_images_leave_the_first_ones_alone():
    few, many = (load_dataset("linear-gaussian", options={"images": n}) for n in (10, 100))
    assert torch.equal(few.train.x, many.train.x[:10])
    assert torch.equal(few.test.x, many.test.x)


def test_ppca_optimum_is_its_own_log_likelihood_and_beats_the_truth_on_train():
    dataset = load_dataset("linear-gaussian")
    x = dataset.train.x
    mean, weights, variance, best = ppca_optimum(x, 3)
    assert weights.shape == (10, 3)
    assert weights.dtype == torch.float64
    fitted = LinearGaussian(weights, mean, float(variance) ** 0.5)
    assert float(fitted(x).mean()) == pytest.approx(best, abs=1e-9)
    gain = best - float(dataset.log_likelihood(x).mean())
    assert 0 < gain < 0.02
    assert float(variance) == pytest.approx(0.25, abs=0.01)


def test_ppca_optimum_is_stationary_and_a_maximum():
    x = load_dataset("linear-gaussian", seed=2, options={"dimensions": 6, "images": 500}).train.x.double()
    mean, weights, variance, best = ppca_optimum(x, 3)
    variables = [t.clone().requires_grad_() for t in (mean, weights, variance)]

    def value(mean, weights, variance):
        covariance = weights @ weights.T + variance * torch.eye(6, dtype=torch.float64)
        return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x).mean()

    for gradient in torch.autograd.grad(value(*variables), variables):
        assert gradient.abs().max() < 1e-9
    torch.manual_seed(0)
    for _ in range(20):
        moved = weights + 1e-2 * torch.randn_like(weights)
        assert float(value(mean, moved, variance * (1 + 1e-2 * torch.randn(())))) < best


def test_ppca_optimum_refuses_what_has_no_maximum():
    x = torch.randn(50, 2) @ torch.randn(2, 5)
    with pytest.raises(VaezooError, match="no maximum"):
        ppca_optimum(x, 2)
    with pytest.raises(VaezooError, match=r"latents in 1\.\.D-1"):
        ppca_optimum(x, 5)
