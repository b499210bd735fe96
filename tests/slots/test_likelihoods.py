"""Every registered likelihood: normalised, sampled as it is scored, its mean the expectation; other libraries'."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import vaezoo
from vaezoo import DataSpec, VaezooError, noise
from vaezoo.registry import registry

SPECS = {
    "binary": [DataSpec((1, 1, 2), "binary")],
    "discrete": [
        DataSpec((1, 1, 2), "discrete", 2),
        DataSpec((1, 1, 2), "discrete", 17),
        DataSpec((1, 1, 1), "discrete", 256),
    ],
    "counts": [DataSpec((1, 1, 1), "counts")],
    "continuous": [DataSpec((1, 1, 1), "continuous")],
}
CASES = [
    pytest.param(name, spec, id=f"{name}-{spec.measure}-{spec.levels}")
    for name in vaezoo.names("likelihood")
    for measure in registry("likelihood")[name].target.measures
    for spec in SPECS[measure]
]
SCALES = [0.0, 0.5, 3.0, 30.0]


def made(name, spec, dtype=torch.float64):
    """A fresh likelihood, handed what it asks for."""
    plugin = registry("likelihood")[name]
    served = {"spec": spec, "latent": 2, "hidden": (4,), "train_size": 10}
    return plugin.target(**{key: value for key, value in served.items() if key in plugin.builder_arguments}).to(dtype)


def parameters_of(likelihood, scale, rows=6, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, 1, *likelihood.parameter_shape, generator=generator, dtype=torch.float64).to(dtype)


def every_image(spec, dtype=torch.float64):
    """All images of a set of few; of counts the first 400. [M, *shape]"""
    top = {"binary": 1, "discrete": (spec.levels or 2) - 1, "counts": 399}[spec.measure]
    values = torch.arange(top + 1, dtype=dtype) / (top if spec.measure == "discrete" else 1)
    return torch.cartesian_prod(*[values] * spec.dimensions).view(-1, *spec.shape)


def line(likelihood, parameters, nodes=200_001):
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


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "spec"), CASES)
def test_it_is_normalised(name, spec, scale):
    likelihood = made(name, spec)
    with torch.no_grad():
        _, masses = log_masses(likelihood, spec, parameters_of(likelihood, scale))
    torch.testing.assert_close(masses.logsumexp(1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-7)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "spec"), CASES)
def test_it_is_finite_and_normalised_in_float32(name, spec, scale):
    likelihood = made(name, spec, torch.float32)
    parameters = parameters_of(likelihood, scale, dtype=torch.float32).requires_grad_()
    if spec.measure == "continuous":
        value = likelihood.log_prob(
            torch.linspace(-5, 5, 11).view(-1, 1, 1, 1), parameters.expand(6, 11, *parameters.shape[2:])
        )
    else:
        _, value = log_masses(likelihood, spec, parameters)
        torch.testing.assert_close(value.logsumexp(1), torch.zeros(6), rtol=0, atol=1e-3)
    assert value.dtype == torch.float32
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), parameters)[0].isfinite().all()


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
@pytest.mark.parametrize(("name", "spec"), CASES)
def test_samples_are_distributed_as_they_are_scored(name, spec, scale):
    """Chi-square over all images, or Kolmogorov-Smirnov against the numeric cdf."""
    n, likelihood = 20_000, made(name, spec)
    parameters = parameters_of(likelihood, scale, rows=2, seed=1)
    for k, row in enumerate(parameters):
        with torch.no_grad(), noise.stream(noise.derive(7, name, scale, k), dtype=torch.float64):
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


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "spec"), CASES)
def test_the_mean_is_the_expectation(name, spec, scale):
    likelihood = made(name, spec)
    parameters = parameters_of(likelihood, scale)
    with torch.no_grad():
        mean = likelihood.mean(parameters)
        expected = []
        for row in parameters:
            x, masses = log_masses(likelihood, spec, row[None])
            expected.append((masses[0].exp() @ x.flatten(1)).view(1, *spec.shape))
    assert mean.shape == (6, 1, *spec.shape)
    torch.testing.assert_close(mean, torch.stack(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_shapes_and_the_sum_over_pixels(name, spec):
    """[B, *shape], [K, B, *parameter_shape] -> [K, B], and an image's value is its own."""
    likelihood = made(name, DataSpec((1, 3, 4), spec.measure, spec.levels))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 1, 3, 4, generator=generator, dtype=torch.float64)
    x = x.round() if spec.measure == "binary" else x if spec.measure == "continuous" else (x * 3).round()
    x = x / (spec.levels - 1) if spec.measure == "discrete" else x
    parameters = torch.randn(2, 5, *likelihood.parameter_shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        value = likelihood.log_prob(x, parameters)
        assert value.shape == (2, 5)
        torch.testing.assert_close(likelihood.log_prob(x[3:4], parameters[:, 3:4]), value[:, 3:4])
        assert likelihood.mean(parameters).shape == (2, 5, 1, 3, 4)
        with noise.stream(0, dtype=torch.float64):
            assert likelihood.sample(parameters[0]).shape == (5, 1, 3, 4)


def test_bernoulli_is_that_of_torch():
    likelihood = made("bernoulli", DataSpec((1, 2, 3), "binary"))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 1, 2, 3, generator=generator, dtype=torch.float64).round()
    logits = 10 * torch.randn(4, 5, 1, 2, 3, generator=generator, dtype=torch.float64)
    bernoulli = torch.distributions.Bernoulli(logits=logits)
    torch.testing.assert_close(
        likelihood.log_prob(x, logits), bernoulli.log_prob(x.expand_as(logits)).flatten(2).sum(-1)
    )
    torch.testing.assert_close(likelihood.mean(logits), bernoulli.mean)


def bernoulli(x, logits):
    """[B, P], [K, B, P] -> [K, B], by the plugin."""
    spec = DataSpec((1, 1, x.shape[-1]), "binary")
    return made("bernoulli", spec).log_prob(x.view(-1, *spec.shape), logits.view(*logits.shape[:2], *spec.shape))


@pytest.mark.parametrize("pixels", [1, 2, 64, 112, 113, 784, 1000])
@pytest.mark.parametrize("scale", [1.0, 30.0, 500.0])
def test_bernoulli_products_of_pixels_are_torchs_sums(pixels, scale):
    """Of images that the logits expect, and of those that they do not; in pieces, where there are many samples."""
    generator = torch.Generator().manual_seed(pixels)
    samples = 2**19 // (3 * pixels) + 2
    logits = (scale * torch.randn(samples, 3, pixels, generator=generator)).double()
    expected, surprising = (logits[0] > 0).double(), (logits[0] < 0).double()
    for x in (expected, surprising, torch.rand(3, pixels, generator=generator).double()):
        exact = x * logits - torch.logaddexp(logits, torch.zeros_like(logits))
        torch.testing.assert_close(bernoulli(x, logits), exact.sum(-1), rtol=1e-12, atol=1e-12)
        exact = x.float().double() * logits - torch.logaddexp(logits, torch.zeros_like(logits))
        rounded = bernoulli(x.float(), logits.float()).double() - exact.sum(-1)
        between = (x * (1 - x) > 0).any() * 2e-7 * logits.abs().sum(-1)  # x l and max(l, 0) are each rounded
        assert (rounded.abs() <= 1e-6 * exact.abs().sum(-1) + 1.2e-7 * pixels + between).all()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch warns of it at its first forward derivative
def test_bernoulli_has_every_derivative():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 5, generator=generator, dtype=torch.float64).requires_grad_()
    logits = torch.randn(3, 2, 5, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(bernoulli, (x, logits), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(bernoulli, (x, logits))
    assert bernoulli(x[:0], logits[:, :0]).shape == (3, 0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch warns of it at its first forward derivative
def test_bernoulli_has_forward_derivatives_of_forward_derivatives():
    """Of x l - log(1 + e^l): by l twice -p (1 - p), three times p (1 - p) (2 p - 1); by x and by l 1."""
    logits, x = torch.linspace(-3, 3, 5, dtype=torch.float64).view(1, 1, 5), torch.rand(1, 5, dtype=torch.float64)
    ones, p = torch.ones_like(logits), logits.sigmoid()

    def along(function):
        return lambda at: torch.func.jvp(function, (at,), (torch.ones_like(at),))[1]

    by_logits = along(lambda logits: bernoulli(x, logits))
    torch.testing.assert_close(along(by_logits)(logits), -(p * (1 - p)).sum(-1))
    torch.testing.assert_close(along(along(by_logits))(logits), (p * (1 - p) * (2 * p - 1)).sum(-1))
    mixed = along(lambda x: along(lambda logits: bernoulli(x, logits))(logits))
    torch.testing.assert_close(mixed(x), ones.sum(-1))


def test_bernoulli_is_exact_far_in_the_tails():
    """No clamp: a logit of 200 that is wrong costs 200 nats."""
    likelihood = made("bernoulli", DataSpec((1,), "binary"), torch.float32)
    value = likelihood.log_prob(torch.zeros(1, 1), torch.tensor([[[200.0]], [[-200.0]]]))
    assert value.tolist() == [[-200.0], [0.0]]


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
