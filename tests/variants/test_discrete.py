"""Discrete latents: log p(x) and the ELBO by exact sums over all codes are what the estimators tend to."""

import pytest
import torch

import vaezoo
from vaezoo import Skip
from vaezoo.builder import build
from vaezoo.conformance.ground import codes

SMALL = {
    "discrete-vae": {slot: ("categorical", {"block": 2}) for slot in ("posterior", "prior")},
    "vq-vae": {"prior": ("codebook", {"codes": 3, "block": 2})},
}


def small(name, overrides):
    torch.manual_seed(0)
    x = torch.rand(6, 4).round()
    model = build(name, vaezoo.Dataset(x, x, x, measure="binary"), latent=3, hidden=(5,), overrides=overrides)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model.double(), x[:3]


@pytest.mark.parametrize("name", SMALL)
def test_the_estimates_tend_to_the_exact_sums_over_codes(name):
    model, x = small(name, SMALL[name])
    batch = model.batch(x)
    with torch.no_grad():
        z = codes(model, batch)
        log_likelihood, log_prior = model.log_joint(batch, z)
        joint, log_q = log_likelihood + log_prior.sum(0), model.log_posterior(batch, z).sum(0)
        log_p = joint.logsumexp(0)
        elbo = (log_q.exp() * (joint - log_q)).sum(0)
        gap = (log_q.exp() * (log_q - (joint - log_p))).sum(0)
        assert torch.allclose(elbo + gap, log_p)
        closed = model.draw(batch, 1).kl[0].sum(-1)
        assert torch.allclose(closed, (log_q.exp() * (log_q - log_prior.sum(0))).sum(0))
    found = vaezoo.log_likelihood(model, x, importance_samples=20_000)
    off = torch.as_tensor(found.estimate) - log_p
    assert (off.abs() < 5 * torch.as_tensor(found.standard_error) + 1e-4).all()


def test_parts_whose_codes_differ_are_skipped():
    model, x = small("discrete-vae", {"posterior": ("categorical", {"block": 1})})
    with pytest.raises(Skip, match="has codes of 1 columns a block, the prior of 3;"):
        model.draw(model.batch(x), 1)


def test_nearest_code_without_a_codebook_is_skipped():
    model, x = small("vq-vae", {"prior": ("categorical", {})})
    with pytest.raises(Skip, match="needs a prior that holds a codebook"):
        model.draw(model.batch(x), 1)


def test_q_is_the_nearest_code_as_the_temperature_falls():
    model, x = small("vq-vae", {**SMALL["vq-vae"], "posterior": ("nearest-code", {"temperature": 1e-3})})
    batch = model.batch(x)
    with torch.no_grad():
        q = model.posterior(batch)
        (z,), log_q = q.rsample_and_log_prob(4)
        nearest = model.prior.codebook.points(model.prior.codebook.nearest(q.pulled))
    assert torch.allclose(z, nearest.expand_as(z))
    assert float(log_q.abs().max()) < 1e-6
