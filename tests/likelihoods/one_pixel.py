"""A likelihood on images of one or two pixels: all of them or a fine grid, and what its numbers must add up to."""

import math

import numpy as np
import torch
from scipy import stats

from vaezoo import noise
from vaezoo.registry import registry

SCALES = [0.0, 0.5, 3.0, 30.0]
"""Of the decoder's parameters, which are normal numbers times this."""


def made(name, spec, dtype=torch.float64, **options):
    """A fresh likelihood of the default hyper-parameters, but for the options."""
    return registry("likelihood")[name].target(spec, **options).to(dtype)


def parameters_of(likelihood, scale, rows=6, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, 1, *likelihood.parameter_shape, generator=generator, dtype=torch.float64).to(dtype)


def every_image(spec, dtype=torch.float64):
    """All images of a set of few; of counts the first 400. [M, *shape]"""
    top = {"binary": 1, "discrete": (spec.levels or 2) - 1, "counts": 399}[spec.measure]
    values = torch.arange(top + 1, dtype=dtype) / (top if spec.measure == "discrete" else 1)
    return torch.cartesian_prod(*[values] * spec.dimensions).view(-1, *spec.shape)


def line(likelihood, parameters, nodes=50_001):
    """Midpoints [M, 1, 1, 1] that cover the samples widely ([0, 1] where every sample lies there), and the step."""
    with noise.stream(1, dtype=torch.float64):
        drawn = likelihood.sample(parameters[:, 0].repeat(2000, *[1] * (parameters.ndim - 2)))
    low, high = float(drawn.min()), float(drawn.max())
    reach = high - low
    low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low - 3 * reach, high + 3 * reach)
    step = (high - low) / nodes
    return (low + step * (torch.arange(nodes, dtype=torch.float64) + 0.5)).view(-1, 1, 1, 1), step


def log_masses(likelihood, spec, parameters):
    """The images and their log masses (of a continuous one: log density times the step). [M, *shape], [K, M]"""
    if spec.measure == "continuous":
        x, step = line(likelihood, parameters)
    else:
        x, step = every_image(spec, parameters.dtype), 1.0
    wide = parameters.expand(len(parameters), len(x), *parameters.shape[2:])
    return x, likelihood.log_prob(x, wide) + math.log(step)


def assert_normalised(likelihood, spec, scale):
    """The probabilities of all images sum to 1 (a density integrates to 1)."""
    with torch.no_grad():
        _, masses = log_masses(likelihood, spec, parameters_of(likelihood, scale))
    torch.testing.assert_close(masses.logsumexp(1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-7)


def assert_finite_in_float32(likelihood, spec, scale):
    """In float32 log p and its gradient are finite, and the probabilities of countable images still sum to 1."""
    parameters = parameters_of(likelihood, scale, dtype=torch.float32).requires_grad_()
    if spec.measure == "continuous":
        wide = parameters.expand(6, 11, *parameters.shape[2:])
        ends = (-5, 5) if spec.levels is None else (0.01, 0.99)
        value = likelihood.log_prob(torch.linspace(*ends, 11).view(-1, 1, 1, 1), wide)
    else:
        _, value = log_masses(likelihood, spec, parameters)
        torch.testing.assert_close(value.logsumexp(1), torch.zeros(6), rtol=0, atol=1e-3)
    assert value.dtype == torch.float32
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), parameters)[0].isfinite().all()


def assert_mean_is_the_expectation(likelihood, spec, scale):
    """mean(parameters) = sum of x p(x) over all images."""
    parameters = parameters_of(likelihood, scale)
    with torch.no_grad():
        mean = likelihood.mean(parameters)
        expected = []
        for row in parameters:
            x, masses = log_masses(likelihood, spec, row[None])
            expected.append((masses[0].exp() @ x.flatten(1)).view(1, *spec.shape))
    assert mean.shape == (6, 1, *spec.shape)
    torch.testing.assert_close(mean, torch.stack(expected), rtol=1e-6, atol=1e-6)


def assert_samples_follow(likelihood, spec, scale):
    """Samples against the probabilities: chi-square over all images, or Kolmogorov-Smirnov against the numeric cdf."""
    n = 20_000
    parameters = parameters_of(likelihood, scale, rows=2, seed=1)
    for k, row in enumerate(parameters):
        with torch.no_grad(), noise.stream(noise.derive(7, type(likelihood).__name__, scale, k), dtype=torch.float64):
            x, masses = log_masses(likelihood, spec, row[None])
            drawn = likelihood.sample(row.expand(n, *row.shape[1:]))
        assert drawn.shape == (n, *spec.shape)
        mass = masses[0].exp().numpy()
        if spec.measure == "continuous":
            nodes, cdf = x.flatten().numpy(), np.cumsum(mass)
            result = stats.kstest(drawn.flatten().numpy(), lambda v, n=nodes, c=cdf: np.interp(v, n, c))
            assert result.pvalue > 1e-3
            continue
        key = {tuple(image): number for number, image in enumerate(x.flatten(1).tolist())}
        counts = np.bincount([key[tuple(image)] for image in drawn.flatten(1).tolist()], minlength=len(x))
        frequent = mass * n >= 5
        observed, expected = counts[frequent], mass[frequent] * n
        if not frequent.all():
            observed, expected = np.append(observed, n - observed.sum()), np.append(expected, n - expected.sum())
        if expected[-1] < 1:
            assert observed[-1] < 10
            observed, expected = observed[:-1], expected[:-1]
        if len(observed) > 1:
            assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


def assert_adds_up(name, spec, scale, /, **options):
    """All of the above, of a likelihood whose decoder's parameters are of this scale."""
    exact = made(name, spec, **options)
    assert_normalised(exact, spec, scale)
    assert_finite_in_float32(made(name, spec, torch.float32, **options), spec, scale)
    assert_mean_is_the_expectation(exact, spec, scale)
    assert_samples_follow(exact, spec, min(scale, 3.0))
