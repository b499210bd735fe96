"""Bounds against closed forms and quadrature: the linear Gaussian model, and log p = ELBO + KL for any decoder."""

import math

import pytest
import torch
from scipy.stats import multivariate_normal

import vaezoo
from vaezoo import bounds, noise
from vaezoo.builder import build
from vaezoo.core.draws import Batch

D, Z, S = 5, 2, 0.6


def binary_set(shape, n=40, seed=0):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)).round()
    return vaezoo.Dataset(x, x, x, measure="binary")


def linear_gaussian_model(dtype=torch.float64, posterior_scale=1.0):
    """`ppca` with orthogonal weight columns, its posterior set by hand to N(M^-1 W'(x-mu), s^2 M^-1), and 8 images."""
    generator = torch.Generator().manual_seed(3)
    columns = torch.linalg.qr(torch.randn(D, Z, generator=generator, dtype=torch.float64))[0]
    weights = columns * torch.tensor([1.7, 0.8], dtype=torch.float64)
    mean = torch.randn(D, generator=generator, dtype=torch.float64)
    x = 2 * torch.randn(8, D, generator=generator, dtype=torch.float64)
    model = build("ppca", vaezoo.Dataset(x, x, x, measure="continuous"), latent=Z).double()
    diagonal = weights.square().sum(0) + S**2
    with torch.no_grad():
        model.decoder.net[0].weight.copy_(weights)
        model.decoder.net[0].bias.copy_(mean)
        model.likelihood.raw.fill_(math.log(math.expm1(S - model.likelihood.min_std)))
        head = model.posterior_net.heads[1]
        head.weight.zero_()
        head.weight[:Z] = weights.T / diagonal[:, None]
        head.bias[:Z] = -(weights.T @ mean) / diagonal
        head.bias[Z:] = 0.5 * (S**2 / diagonal).log() + math.log(posterior_scale)
    covariance = (weights @ weights.T + S**2 * torch.eye(D, dtype=torch.float64)).numpy()
    log_p = torch.from_numpy(multivariate_normal(mean.numpy(), covariance).logpdf(x.numpy()))
    return model.to(dtype), x.to(dtype), log_p


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_with_the_exact_posterior_every_log_weight_is_log_p(dtype, tolerance):
    model, x, log_p = linear_gaussian_model(dtype)
    torch.manual_seed(0)
    with torch.no_grad():
        draws = model.draw(model.batch(x), 50)
        for value in (draws.log_weight, bounds.elbo(draws), bounds.iwll(draws)):
            torch.testing.assert_close(value.double(), log_p.expand_as(value), rtol=tolerance, atol=0)


def test_with_the_exact_posterior_the_estimator_has_no_error():
    model, x, log_p = linear_gaussian_model()
    found = vaezoo.log_likelihood(model, x, 77)
    torch.testing.assert_close(found.estimate, log_p, rtol=1e-11, atol=0)
    torch.testing.assert_close(found.elbo, log_p, rtol=1e-11, atol=0)
    torch.testing.assert_close(found.effective_samples, torch.full((8,), 77.0, dtype=torch.float64), rtol=1e-9, atol=0)
    assert float(found.standard_error.max()) < 1e-6
    assert (vaezoo.log_likelihood(model, x, 225).pareto_k == -math.inf).all()


@pytest.mark.parametrize("scale", [0.8, 1.3])
def test_with_a_wrong_width_the_elbo_lies_the_known_divergence_below(scale):
    """q's std is `scale` times the posterior's: log p - ELBO = Z ((scale^2 - 1)/2 - log scale)."""
    model, x, log_p = linear_gaussian_model(posterior_scale=scale)
    with torch.no_grad(), noise.stream(5, index=torch.arange(8), dtype=torch.float64):
        log_weight = model.draw(model.batch(x), 20000).log_weight
    error = log_weight.std(0) / math.sqrt(20000)
    expected = log_p - Z * (0.5 * (scale**2 - 1) - math.log(scale))
    assert ((log_weight.mean(0) - expected).abs() < 4 * error).all()
    assert ((log_p - expected) > 20 * error).all()
    found = vaezoo.log_likelihood(model, x, 20000)
    assert ((found.estimate - log_p).abs() < 4 * found.standard_error).all()


def poor_vae(shape=(1, 3, 3), latent=3, dtype=torch.float64, hidden=(8,), **hyper):
    """A VAE with random weights, its decoder's made large, so that log weights spread over nats."""
    model = build(
        "vae",
        binary_set(shape),
        latent=latent,
        hidden=hidden,
        overrides={"encoder": ("mlp", {"activation": "tanh"}), "decoder": ("mlp", {"activation": "tanh"})},
    ).to(dtype)
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            parameter.mul_(4 if name.endswith("weight") else 1)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_sample_makes_iwll_the_elbo(dtype):
    model = poor_vae(dtype=dtype)
    torch.manual_seed(1)
    draws = model.draw(model.batch(torch.ones(6, 1, 3, 3)), 1)
    torch.testing.assert_close(bounds.iwll(draws), bounds.elbo(draws), rtol=0, atol=0)


def test_iwll_rises_with_samples_towards_log_p():
    """Independent draws at each K of one image copied 4,000 times: each step up is significant, none exceeds log p."""
    model = poor_vae()
    x = binary_set((1, 3, 3)).test.x[:1].double()
    copies = x.expand(4000, 1, 3, 3)
    means, errors = [], []
    with torch.no_grad():
        for k in (1, 2, 4, 8, 16, 32):
            with noise.stream(noise.derive(0, "rise", k), index=torch.arange(4000), dtype=torch.float64):
                value = bounds.iwll(model.draw(model.batch(copies), k))
            means.append(float(value.mean()))
            errors.append(float(value.std()) / math.sqrt(4000))
    for n in range(5):
        assert means[n + 1] - means[n] > 4 * math.hypot(errors[n], errors[n + 1]), f"K={2**n} to {2 ** (n + 1)}"
    truth = float(vaezoo.log_likelihood(model, x, 200000).estimate)
    assert means[-1] < truth + 4 * errors[-1]


def grid(latent, nodes, reach=12.0):
    """Nodes of a trapezoid rule, [nodes^Z, Z], and log of its cell; exact to rounding for smooth densities."""
    axis = torch.linspace(-reach, reach, nodes, dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * latent).view(-1, latent), latent * math.log(2 * reach / (nodes - 1))


def on_grid(model, batch, nodes, latent):
    """By quadrature of each image: log p(x), ELBO and KL(q || p(z|x))."""
    points, log_cell = grid(latent, nodes)
    z = points[:, None].expand(-1, batch.x.shape[0], -1)
    q = model.posterior(batch)
    log_likelihood, log_prior = model.log_joint(batch, (z,))
    log_joint, log_q = log_likelihood + log_prior.sum(0), q.log_prob((z,)).sum(0)
    log_p = (log_joint + log_cell).logsumexp(0)
    weight = (log_q + log_cell).exp()
    elbo = (weight * (log_joint - log_q)).sum(0)
    divergence = (weight * (log_q - (log_joint - log_p))).sum(0)
    return log_p, elbo, divergence


@pytest.mark.parametrize(("latent", "nodes"), [(1, 400), (2, 240)])
def test_log_p_is_elbo_plus_divergence_from_the_posterior(latent, nodes):
    """The derivation of the VAE objective. The ELBO three ways: on the grid, as reconstruction under z = mean + std eps
    minus the KL in closed form, and by Monte Carlo."""
    model = poor_vae((1, 2, 3), latent)
    with torch.no_grad():
        model.posterior_net.heads[1].bias[latent:] += 0.4  # wider than the posterior, so that the weights are bounded
    batch = Batch(binary_set((1, 2, 3)).test.x[:3].double())
    with torch.no_grad():
        log_p, elbo, divergence = on_grid(model, batch, nodes, latent)
        for value, finer in zip((log_p, elbo, divergence), on_grid(model, batch, 2 * nodes, latent), strict=True):
            torch.testing.assert_close(value, finer, rtol=0, atol=1e-9)
        torch.testing.assert_close(log_p, elbo + divergence, rtol=0, atol=1e-6)
        assert (divergence > 0.01).all()

        q = model.posterior(batch).gaussian
        eps, log_cell = grid(latent, 2 * nodes)
        weights = (log_cell - 0.5 * eps.square().sum(-1) - 0.5 * latent * math.log(2 * math.pi)).exp()
        reconstruction = weights @ model.log_likelihood(batch, (q.mean + q.std * eps[:, None],))
        torch.testing.assert_close(
            elbo, reconstruction - model.kl(batch, q, (q.mean[None],))[0].sum(1), rtol=0, atol=1e-6
        )

        with noise.stream(2, index=torch.arange(3), dtype=torch.float64):
            log_weight = model.draw(batch, 40000).log_weight
        assert ((log_weight.mean(0) - elbo).abs() < 4 * log_weight.std(0) / 200).all()

    found = vaezoo.log_likelihood(model, batch.x, 40000, seed=1)
    assert (found.standard_error < 0.01).all()
    assert ((found.estimate - log_p).abs() < 4 * found.standard_error).all()
    assert ((found.estimate - elbo) > 8 * found.standard_error).all()


def test_bounds_ignore_the_weight_of_the_kl():
    model = poor_vae()
    torch.manual_seed(0)
    draws = model.draw(model.batch(torch.ones(4, 1, 3, 3)), 7)
    before = bounds.elbo(draws), bounds.iwll(draws)
    draws.kl_weight = torch.tensor(0.1)
    for value, again in zip(before, (bounds.elbo(draws), bounds.iwll(draws)), strict=True):
        assert torch.equal(value, again)


def test_draws_hold_the_terms_of_the_weight():
    """log w = log p(x|z) + log p(z) - log q(z|x), each term recomputed at the same z, in the documented shapes."""
    model = poor_vae()
    batch = model.batch(torch.ones(4, 1, 3, 3))
    torch.manual_seed(0)
    draws = model.draw(batch, 7)
    log_likelihood, log_prior = model.log_joint(batch, draws.z)
    assert (draws.log_weight.shape, draws.log_prior.shape, draws.log_posterior.shape) == ((7, 4), (1, 7, 4), (1, 7, 4))
    assert [group.shape for group in draws.kl] == [(4, 3)]
    expected = log_likelihood + (log_prior - model.posterior(batch).log_prob(draws.z)).sum(0)
    torch.testing.assert_close(draws.log_weight, expected)
