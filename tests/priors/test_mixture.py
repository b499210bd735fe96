"""The mixture prior: torch's density, and a mixture of one."""

import torch
from small_prior import log_density, model_with, sampled

import vaezoo
from vaezoo import DiagonalGaussian, Variant, noise
from vaezoo.builder import build
from vaezoo.core.draws import Batch


def test_a_mixture_of_one_is_its_gaussian_and_the_kl_from_it_is_0():
    images = torch.ones(4, 1, 2, 3)
    model = build(
        Variant("t", prior=("mixture", {"components": 1})),
        vaezoo.Dataset(images, images, images, measure="binary"),
        latent=3,
        hidden=(6,),
    ).double()
    q = DiagonalGaussian(model.prior.mean, model.prior.log_std)
    with torch.no_grad(), noise.stream(0, index=torch.arange(1), dtype=torch.float64):
        z, log_q = q.rsample_and_log_prob(100)
        torch.testing.assert_close(log_q, model.log_prior(Batch(images[:1].double()), z))


def test_a_mixture_has_the_density_of_torch():
    model = model_with(("mixture", {"components": 5}), 3)
    prior, z = model.prior, sampled(model, n=50)
    normal = torch.distributions.Independent(torch.distributions.Normal(prior.mean, prior.log_std.exp()), 1)
    expected = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=prior.logit), normal)
    with torch.no_grad():
        torch.testing.assert_close(log_density(model, z), expected.log_prob(z))
