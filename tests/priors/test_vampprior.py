"""The VampPrior: the mean of the posteriors at its pseudo-inputs, which start at training images."""

import math

import torch
from small_prior import log_density, model_with, sampled

import vaezoo
from vaezoo import Variant
from vaezoo.builder import Ingredients, build, construct, resolve


def test_a_vampprior_is_the_mean_of_its_posteriors():
    """log p(z) = log (1/C) sum_c q(z | u_c), also after the encoder has changed: nothing of it is stored."""
    model = model_with(("vampprior", {"components": 5}), 3)
    z = sampled(model, n=50)
    for _ in range(2):
        with torch.no_grad():
            q = model.encode(model.prior.pseudo_inputs.clamp(0, 1))
            each = q.log_density(z[:, None])
            torch.testing.assert_close(log_density(model, z), each.logsumexp(1) - math.log(5))
            model.encoder.net[0].weight.add_(0.3)


def test_a_vampprior_trains_pseudo_inputs_and_encoder():
    model = model_with(("vampprior", {"components": 5}), 3, moved=False)
    draws = model.draw(model.batch(torch.ones(4, 1, 2, 3)), 2)
    draws.log_prior.sum().backward()
    assert model.prior.pseudo_inputs.grad.any()
    assert model.encoder.net[0].weight.grad.any()


def test_a_prior_that_is_the_posterior_has_no_kl():
    """A VampPrior of one component, asked at the image it stands at: log q = log p for every sample."""
    image = torch.rand(1, 1, 2, 3, generator=torch.Generator().manual_seed(0)).round()
    model = build(
        Variant("t", prior=("vampprior", {"components": 1})),
        vaezoo.Dataset(image, image, image, measure="binary"),
        latent=3,
        hidden=(6,),
    ).double()
    with torch.no_grad():
        model.prior.pseudo_inputs.copy_(image)
        torch.manual_seed(0)
        draws = model.draw(model.batch(image), 50)
        torch.testing.assert_close(draws.log_posterior, draws.log_prior)
        torch.testing.assert_close(draws.log_weight, draws.log_likelihood)


def test_pseudo_inputs_start_at_training_images():
    images = torch.rand(60, 1, 2, 3, generator=torch.Generator().manual_seed(0)).round()
    model = model_with(("vampprior", {"components": 5}), 2, moved=False, dtype=torch.float32)
    starts = (model.prior.pseudo_inputs.detach() - 0.05) / 0.9
    distance = (starts[:, None] - images).abs().flatten(2).amax(-1)
    assert (distance.min(1).values < 1e-5).all()
    assert float(model.prior.pseudo_inputs.detach().min()) > 0


def test_a_model_built_without_data_takes_the_weights_of_one_built_with():
    model = model_with(("vampprior", {"components": 5}), 3)
    slots = resolve("vae-vampprior", model.spec, {"prior": (None, {"components": 5})})
    blank, _ = construct(slots, Ingredients.blank(model.spec, 3, (6,), 60))
    blank.double().load_state_dict(model.state_dict())
    z = sampled(model, n=50)
    assert torch.equal(log_density(blank, z), log_density(model, z))
