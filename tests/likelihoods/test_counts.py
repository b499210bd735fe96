"""Likelihoods of counts: scipy's probabilities, the library size, and parameters recovered from a planted model."""

import math

import numpy as np
import pytest
import torch
from one_pixel import assert_adds_up, made, parameters_of
from scipy import stats

import vaezoo
from vaezoo import DataSpec, VaezooError
from vaezoo.datasets.simulated_counts import CountModel
from vaezoo.nets.normal import log_ndtr

SPEC = DataSpec((2, 3), "counts")
NAMES = ("poisson", "negative-binomial", "zero-inflated-negative-binomial", "discretized-log-normal")


@pytest.mark.parametrize("name", NAMES)
def test_they_add_up(name):
    assert_adds_up(name, DataSpec((1, 1, 1), "counts"), 0.7)


def counts_and_rates(seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 40, (5, 2, 3)).astype(float), generator.normal(1.0, 1.5, (4, 5, 2, 3))


def summed(values):
    return torch.from_numpy(values).flatten(2).sum(-1)


def test_poisson_is_that_of_scipy():
    x, rate = counts_and_rates()
    found = made("poisson", SPEC).log_prob(torch.from_numpy(x), torch.from_numpy(rate))
    torch.testing.assert_close(found, summed(stats.poisson(np.exp(rate)).logpmf(x)))


@pytest.mark.parametrize("log_dispersion", [-3.0, 0.0, 6.5])
def test_negative_binomials_are_that_of_scipy(log_dispersion):
    x, log_mean = counts_and_rates()
    r = math.exp(log_dispersion)
    plain, inflated = made("negative-binomial", SPEC), made("zero-inflated-negative-binomial", SPEC)
    for likelihood in (plain, inflated):
        torch.nn.init.constant_(likelihood.raw_dispersion, log_dispersion)
    x[0] = 0
    probability = stats.nbinom(r, r / (r + np.exp(log_mean)))
    found = plain.log_prob(torch.from_numpy(x), torch.from_numpy(log_mean))
    torch.testing.assert_close(found, summed(probability.logpmf(x)))
    logit = counts_and_rates(1)[1]
    w = 1 / (1 + np.exp(-logit))
    both = torch.from_numpy(np.stack([log_mean, logit], 2))
    expected = summed(np.log(w * (x == 0) + (1 - w) * probability.pmf(x)))
    torch.testing.assert_close(inflated.log_prob(torch.from_numpy(x), both), expected)


def test_the_limits_of_the_negative_binomials():
    """Poisson at the largest dispersion, to first order in 1 / r; without more zeros at a logit of -40."""
    x, log_mean = (torch.from_numpy(each) for each in counts_and_rates())
    plain, inflated = made("negative-binomial", SPEC), made("zero-inflated-negative-binomial", SPEC)
    small = torch.full_like(log_mean, -40.0)
    torch.testing.assert_close(
        inflated.log_prob(x, torch.stack([log_mean, small], 2)), plain.log_prob(x, log_mean), rtol=1e-12, atol=1e-12
    )
    torch.nn.init.constant_(plain.raw_dispersion, 1e9)
    r = float(plain.log_dispersion.detach().flatten()[0].exp())
    first_order = ((x - (x - log_mean.exp()).square()) / (2 * -r)).flatten(2).sum(-1)
    poisson = made("poisson", SPEC).log_prob(x, log_mean)
    torch.testing.assert_close(plain.log_prob(x, log_mean) - poisson, first_order, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("log_rate", [2.0, 8.0])
def test_the_negative_binomial_keeps_its_digits_in_float32(log_rate):
    """At r = 2,000 differences of lgamma in float32 would be off by .001 a pixel and more."""
    likelihood = made("negative-binomial", DataSpec((1,), "counts"))
    torch.nn.init.constant_(likelihood.raw_dispersion, math.log(2000))
    x = torch.arange(0, 4000, 97, dtype=torch.float64).view(-1, 1)
    rate = torch.full((1, len(x), 1), log_rate, dtype=torch.float64)
    exact = likelihood.log_prob(x, rate)
    torch.testing.assert_close(
        likelihood.float().log_prob(x.float(), rate.float()).double(), exact, rtol=1e-6, atol=4e-3
    )


def test_log_ndtr_is_that_of_scipy_and_has_its_derivative():
    x = torch.linspace(-40, 10, 201, dtype=torch.float64, requires_grad=True)
    value = log_ndtr(x)
    torch.testing.assert_close(value, torch.from_numpy(stats.norm.logcdf(x.detach().numpy())))
    (slope,) = torch.autograd.grad(value.sum(), x)
    expected = np.exp(stats.norm.logpdf(x.detach().numpy()) - stats.norm.logcdf(x.detach().numpy()))
    torch.testing.assert_close(slope, torch.from_numpy(expected), rtol=1e-6, atol=1e-12)


def test_the_log_normal_is_the_mass_of_its_gaussian_and_the_dequantised_density_bounds_it():
    """P(x) by scipy's normal distribution; log P(x) is at least the mean of the density's logarithm over the noise, and
    P(x) is the mean of the density.
    """
    likelihood = made("discretized-log-normal", DataSpec((1,), "counts"), scale="fixed", initial_scale=0.75)
    x, m, s = torch.arange(30, dtype=torch.float64), 1.3, 0.75
    found = likelihood.log_prob(x[:, None], torch.full((1, 30, 1), m, dtype=torch.float64))[0]
    edges = np.concatenate([[-np.inf], np.log(np.arange(30) + 1.5)])
    expected = np.diff(stats.norm.cdf(edges, m, s))
    np.testing.assert_allclose(found.exp(), expected, rtol=1e-9)
    v = x[1:, None] + (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000 - 0.5
    density = torch.distributions.Normal(m, s).log_prob(v.log1p()) - v.log1p()
    assert (found[1:] >= density.mean(1)).all()
    torch.testing.assert_close(found[1:], density.exp().mean(1).log(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_library_size_multiplies_the_mean_and_enters_the_probability(name):
    """A context adds log(library size / pixels) to the first parameter."""
    likelihood = made(name, DataSpec((2, 3), "counts", context=2), library_column=1)
    x, parameters = (
        torch.from_numpy(counts_and_rates()[0]),
        parameters_of(likelihood, 0.5, rows=4).expand(4, 5, *likelihood.parameter_shape),
    )
    context = torch.randn(5, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    moved = parameters.clone()
    target = moved if likelihood.parameter_shape == (2, 3) else moved[:, :, 0]
    target += context[:, 1].view(5, 1, 1) - math.log(6)
    torch.testing.assert_close(likelihood.log_prob(x, parameters, context), likelihood.log_prob(x, moved))
    torch.testing.assert_close(likelihood.mean(parameters, context), likelihood.mean(moved))
    if name != "discretized-log-normal":
        torch.testing.assert_close(
            likelihood.mean(parameters, context), context[:, 1].exp().view(5, 1, 1) / 6 * likelihood.mean(parameters)
        )
    with pytest.raises(VaezooError, match=r"log of the library size, which is one of 0..1 here, got 2"):
        made(name, DataSpec((2, 3), "counts", context=2), library_column=2)


def test_a_model_serves_the_library_size_to_mean_and_sample():
    data = vaezoo.load_dataset("simulated-counts", options={"context": "library", "images": 100})
    model = vaezoo.build("count-vae", data, latent=2, hidden=[8])
    assert model.conditional
    z, context = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)), data.valid.context[:500]
    torch.testing.assert_close(
        model.decode(z, context + math.log(2)), 2 * model.decode(z, context), rtol=1e-4, atol=1e-4
    )
    torch.manual_seed(0)
    few, many = (model.sample(500, context + shift).sum(1).mean() for shift in (0.0, math.log(10)))
    assert 9 < many / few < 11
    free = vaezoo.build("count-vae", vaezoo.load_dataset("simulated-counts", options={"images": 100}), latent=2)
    assert not free.conditional


def test_the_natural_likelihood_of_counts_is_the_negative_binomial():
    data = vaezoo.load_dataset("simulated-counts", options={"images": 100})
    assert type(vaezoo.build("vae", data, latent=2, hidden=[8]).likelihood).__name__ == "NegativeBinomial"


GENES, CELLS, NODES = 5, 1500, 30


def test_the_parameters_of_a_planted_model_are_recovered_within_their_standard_errors():
    """The maximum of the marginal likelihood, z integrated over Gauss-Hermite nodes, with the library size as context:

        log p(x|l) = log sum_k omega_k prod_g NB(x_g; l exp(b_g + w_g z_k), r_g)

    15 parameters, against the true ones: each within 4.5 of the standard errors of the observed information, and all
    together by Wald's statistic, which is chi-square with 15 degrees of freedom (false alarm 1e-4 each).
    """
    torch.manual_seed(0)
    weights = torch.tensor([[0.9], [-0.6], [0.5], [0.3], [-0.8]], dtype=torch.float64)
    offset = torch.tensor([-1.0, -1.5, -2.0, -1.2, -2.5], dtype=torch.float64)
    dispersion = torch.tensor([0.7, 2.0, 1.0, 4.0, 1.5], dtype=torch.float64)
    x, _, log_library = CountModel(weights, offset, dispersion, math.log(60.0), 0.0).draw(3, "train", CELLS)
    truth = torch.cat([offset, weights[:, 0], dispersion.log()])
    likelihood = made("negative-binomial", DataSpec((GENES,), "counts", context=1))
    nodes, mass = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(NODES))
    log_mass = (mass / math.sqrt(2 * math.pi)).log()
    counts = x.double()

    scored = Scored(likelihood)

    def minus_log_likelihood(theta):
        b, w, log_r = theta.split(GENES)
        rate = (b + math.log(GENES) + nodes[:, None] * w)[:, None].expand(NODES, CELLS, GENES)
        given = (counts, rate, log_library)
        log_p = torch.func.functional_call(scored, {"likelihood.raw_dispersion": log_r}, given)
        return -(log_mass[:, None] + log_p).logsumexp(0).sum()

    start = torch.cat(
        [(counts.mean(0) / log_library.exp().mean()).log(), 0.5 * weights[:, 0].sign(), torch.zeros(GENES)]
    )
    theta = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([theta], max_iter=60, line_search_fn="strong_wolfe", tolerance_grad=1e-4)

    def closure():
        optimiser.zero_grad()
        value = minus_log_likelihood(theta)
        value.backward()
        return value

    optimiser.step(closure)
    information = torch.autograd.functional.hessian(minus_log_likelihood, theta.detach())
    off = theta.detach() - truth
    assert (off.abs() < 4.5 * torch.linalg.inv(information).diagonal().sqrt()).all()
    wald = stats.chi2(3 * GENES).sf(float(off @ information @ off))
    assert 1e-4 < wald < 1 - 1e-4


class Scored(torch.nn.Module):
    """log p(x|z) of a likelihood, whose parameters functional_call replaces."""

    def __init__(self, likelihood):
        super().__init__()
        self.likelihood = likelihood

    def forward(self, x, parameters, context):
        return self.likelihood.log_prob(x, parameters, context)
