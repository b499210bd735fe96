"""log_posterior(batch, z, stopped=True): the same log q, its weights cut from the graph, the path through z intact."""

import math
from contextlib import suppress

import pytest
import torch

import vaezoo
from vaezoo import Skip, noise
from vaezoo.builder import build


def images(shape=(1, 8, 8), n=12):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)).round()


def linear_gaussian_with_its_posterior(dtype=torch.float64):
    """ppca whose decoder's columns are orthogonal and whose posterior heads are set to the true posterior."""
    generator = torch.Generator().manual_seed(1)
    dimensions, latent, std = 6, 3, 0.5
    weights = torch.linalg.qr(torch.randn(dimensions, latent, generator=generator, dtype=torch.float64))[0] * 1.5
    x = torch.randn(7, dimensions, generator=generator, dtype=torch.float64)
    model = build("ppca", vaezoo.Dataset(x, x, x, measure="continuous"), latent=latent).double()
    diagonal = weights.square().sum(0) + std**2
    with torch.no_grad():
        model.decoder.net[0].weight.copy_(weights)
        model.likelihood.raw.fill_(math.log(math.expm1(std - model.likelihood.min_std)))
        head, offset = model.posterior_net.heads[1], model.decoder.net[0].bias
        head.weight.zero_()
        head.weight[:latent] = weights.T / diagonal[:, None]
        head.bias[:latent] = -(weights.T @ offset) / diagonal
        head.bias[latent:] = 0.5 * (std**2 / diagonal).log()
    return model.to(dtype), x.to(dtype)


def inference_gradients(model, value):
    named = [(n, p) for n, p in model.named_parameters() if n.startswith(("encoder.", "posterior_net."))]
    gradients = torch.autograd.grad(value, [p for _, p in named], allow_unused=True, retain_graph=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named, gradients, strict=True)}


@pytest.mark.parametrize("posterior", vaezoo.names("posterior"))
@pytest.mark.parametrize("encoder", vaezoo.names("encoder"))
def test_the_value_is_the_same_and_the_weights_are_cut(encoder, posterior):
    x = images()
    dataset = vaezoo.Dataset(x, x, x, measure="binary")
    try:
        model = build("vae", dataset, latent=3, hidden=(8,), overrides={"encoder": encoder, "posterior": posterior})
        batch = model.batch(x)
        with noise.stream(0, index=torch.arange(len(x))):
            z, log_q = model.posterior(batch).rsample_and_log_prob(4)
    except Skip as reason:
        pytest.skip(str(reason))
    try:
        again = model.log_posterior(batch, z, stopped=True)
    except Skip as reason:
        pytest.skip(str(reason))
    torch.testing.assert_close(again, log_q, rtol=1e-4, atol=1e-4)

    fixed = tuple(group.detach().requires_grad_() for group in z)
    at_fixed = model.log_posterior(batch, fixed, stopped=True)
    weights = list(model.parameters())
    assert torch.autograd.grad(at_fixed.sum(), weights, allow_unused=True, retain_graph=True) == (None,) * len(weights)
    assert any(g.any() for g in torch.autograd.grad(at_fixed.sum(), fixed))
    through_z = inference_gradients(model, again.sum())
    assert any(g.abs().max() > 1e-6 for g in through_z.values())
    expected = torch.autograd.grad(again.sum(), z, retain_graph=True)
    pushed = sum((group * g).sum() for group, g in zip(z, expected, strict=True))
    for name, gradient in inference_gradients(model, pushed).items():
        torch.testing.assert_close(through_z[name], gradient, msg=name)


@pytest.mark.parametrize("posterior", vaezoo.names("posterior"))
def test_the_weights_are_as_before(posterior):
    x = images()
    dataset = vaezoo.Dataset(x, x, x, measure="binary")
    try:
        model = build("vae", dataset, latent=3, hidden=(8,), overrides={"posterior": posterior})
    except Skip as reason:
        pytest.skip(str(reason))
    before = dict(model.named_parameters())
    draws = model.draw(model.batch(x), 1)
    with suppress(Skip):  # of a posterior that scores only its own samples
        model.log_posterior(draws.batch, draws.z, stopped=True)
    after = dict(model.named_parameters())
    assert before.keys() == after.keys()
    assert all(after[name] is p and p.requires_grad for name, p in before.items())


def test_sticking_the_landing_has_no_gradient_at_the_true_posterior():
    """log w is constant in z there, so with the score term cut the gradient is 0 for every draw, and not otherwise."""
    model, x = linear_gaussian_with_its_posterior()
    batch = model.batch(x)
    torch.manual_seed(0)
    draws = model.draw(batch, 5)
    log_joint, log_prior = model.log_joint(batch, draws.z)
    stuck = log_joint + log_prior.sum(0) - draws.log_posterior_stopped.sum(0)
    torch.testing.assert_close(stuck, draws.log_weight)
    scale = {n: float(g.abs().max()) for n, g in inference_gradients(model, draws.log_weight.mean()).items()}
    assert max(scale.values()) > 0.01
    for name, gradient in inference_gradients(model, stuck.mean()).items():
        assert float(gradient.abs().max()) < 1e-12 * max(1, max(scale.values())), name


def test_cutting_leaves_the_mean_gradient_alone():
    """E of the score term is 0: with and without it the encoder's gradients agree in mean, within 4 standard errors."""
    x = images((1, 2, 2), 1)
    model = build("vae", vaezoo.Dataset(x, x, x, measure="binary"), latent=2, hidden=(4,)).double()
    n = 20_000
    batch = model.batch(x.expand(n, 1, 2, 2))
    bias = model.posterior_net.heads[1].bias
    means, errors = [], []
    for stopped, seed in ((True, 0), (False, 1)):
        chunks = []
        for chunk in range(40):
            torch.manual_seed(noise.derive(seed, chunk))
            draws = model.draw(batch, 1)
            log_q = draws.log_posterior_stopped if stopped else draws.log_posterior
            value = draws.log_likelihood + (draws.log_prior - log_q).sum(0)
            chunks.append(torch.autograd.grad(value.mean(), bias)[0])
        found = torch.stack(chunks)
        means.append(found.mean(0))
        errors.append(found.std(0) / math.sqrt(40))
    assert ((means[0] - means[1]).abs() < 4.5 * (errors[0].square() + errors[1].square()).sqrt()).all()
    assert (means[1].abs() > 20 * errors[1]).any()
