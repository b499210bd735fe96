"""Gaussian, Laplace and Student-t likelihoods: torch's densities with each kind of scale, and the fitted one."""

import math

import pytest
import torch
from one_pixel import assert_adds_up, made
from torch import distributions

import vaezoo
from vaezoo import DataSpec, VaezooError
from vaezoo.core.requests import requested_arguments
from vaezoo.training.updates import refit

SPEC = DataSpec((2, 3), "continuous")
ONE = DataSpec((1, 1, 1), "continuous")
OF_TORCH = {
    "gaussian": lambda likelihood, mean, scale: distributions.Normal(mean, scale),
    "laplace": lambda likelihood, mean, scale: distributions.Laplace(mean, scale),
    "student-t": lambda likelihood, mean, scale: distributions.StudentT(likelihood.df, mean, scale),
}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["fixed", "learned", "per-pixel"])
@pytest.mark.parametrize("name", OF_TORCH)
def test_densities_are_those_of_torch(name, kind):
    likelihood = made(name, SPEC, scale=kind)
    x, parameters = drawn(5, *SPEC.shape), drawn(4, 5, *likelihood.parameter_shape, seed=1)
    mean, scale = parameters, torch.tensor(0.5, dtype=torch.float64)
    if kind == "per-pixel":
        mean, raw = parameters.unbind(2)
        scale = 1e-3 + torch.nn.functional.softplus(raw + math.log(math.expm1(0.5 - 1e-3)))
    expected = OF_TORCH[name](likelihood, mean, scale).log_prob(x).flatten(2).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(x, parameters), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(likelihood.mean(parameters), mean)


@pytest.mark.parametrize("kind", ["per-pixel", "optimal"])
def test_gaussians_with_other_scales_integrate_to_1_and_are_sampled(kind):
    assert_adds_up("gaussian", ONE, 1.0, scale=kind)


def test_student_t_is_the_gaussian_at_many_degrees_of_freedom():
    x, mean = drawn(5, *SPEC.shape), drawn(4, 5, *SPEC.shape, seed=1)
    near = made("student-t", SPEC)
    with torch.no_grad():
        near.raw_df.fill_(1e7)
    torch.testing.assert_close(near.log_prob(x, mean), made("gaussian", SPEC).log_prob(x, mean), rtol=1e-5, atol=1e-5)


def test_the_optimal_std_is_the_one_of_highest_likelihood():
    """refit gives std^2 = mean (x - mean)^2, the maximum of log p over std; a learned std is not refitted."""
    likelihood = made("gaussian", SPEC, scale="optimal")
    images, mean = drawn(40, *SPEC.shape), 0.3 * drawn(40, *SPEC.shape, seed=1)
    assert [name for name, _ in requested_arguments(likelihood.refit, 1)] == ["parameters"]
    likelihood.refit(images, parameters=lambda x: mean)
    torch.testing.assert_close(likelihood.std.square(), (images - mean).square().mean())
    best = likelihood.log_prob(images, mean[None]).sum()
    for factor in (0.99, 1.01):
        other = made("gaussian", SPEC, scale="fixed", initial_std=factor * float(likelihood.std))
        assert other.log_prob(images, mean[None]).sum() < best
    assert made("gaussian", SPEC).refit is None
    likelihood.refit(images, parameters=lambda x: x)
    torch.testing.assert_close(float(likelihood.std), 1e-3)


def test_sigma_vae_is_refitted_after_an_epoch():
    data = vaezoo.load_dataset("digits-dequantised")
    model = vaezoo.build("sigma-vae", data, latent=2, hidden=[8])
    refit(model, {"likelihood": model.likelihood}, data.train, seed=0, epoch=1)
    assert 0.9 < model.likelihood.std / data.train.x.square().mean().sqrt() < 1.5  # of an untrained decoder


@pytest.mark.parametrize("name", ["laplace", "student-t", "discretized-log-normal"])
def test_an_optimal_scale_is_the_gaussians_alone(name):
    measure = "counts" if name == "discretized-log-normal" else "continuous"
    options = {"scale": "optimal"}
    with pytest.raises(VaezooError, match=r"'scale': value 'optimal' is unknown; there are: fixed, le"):
        vaezoo.build("vae", "digits", overrides={"likelihood": (name, options)})
    with pytest.raises(VaezooError, match="0 < min_scale < initial_scale is needed, got min_scale=2, initial_scale=1"):
        made(name, DataSpec((2,), measure), min_scale=2, initial_scale=1)
