"""Every registered prior: its density integrates to 1, its samples follow it, its KL is that of Monte Carlo."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import vaezoo
from vaezoo import DiagonalGaussian, Variant, noise
from vaezoo.builder import build
from vaezoo.core.draws import Batch
from vaezoo.registry import registry

N = 4000


def model_with(prior, latent, moved=True, dtype=torch.float64):
    """A model with this prior (of few components where it has some), its parameters moved from where they start."""
    images = torch.rand(60, 1, 2, 3, generator=torch.Generator().manual_seed(0)).round()
    few = {"components": 5} if "components" in registry("prior")[prior].hyperparameters else {}
    model = build(
        Variant("t", prior=(prior, few)),
        vaezoo.Dataset(images, images, images, measure="binary"),
        latent=latent,
        hidden=(6,),
    ).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.posterior_net.heads[1].weight.mul_(3)  # components apart, for a prior made of posteriors
        if moved:
            for parameter in model.prior.parameters():
                parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator).to(dtype))
    if len(model.prior_sample(2)) > 1:
        pytest.skip("a hierarchical prior has a test of its own")
    return model


def log_density(model, z):
    """log p(z) of points [M, Z] -> [M]."""
    batch = Batch(torch.zeros(1, *model.spec.shape, dtype=z.dtype), index=torch.zeros(1, dtype=torch.int64))
    with torch.no_grad():
        return model.log_prior(batch, (z[:, None],)).sum(0)[:, 0]


def sampled(model, seed=0, n=N):
    with noise.stream(noise.derive(seed, "prior"), dtype=torch.float64):
        return model.prior_sample(n)[0]


def midpoints(z, axis, nodes, wide=2.0):
    """Midpoints that cover the samples' range and `wide` times it on either side, and the step."""
    low, high = float(z[:, axis].min()), float(z[:, axis].max())
    low, high = low - wide * (high - low), high + wide * (high - low)
    step = (high - low) / nodes
    return low + step * (torch.arange(nodes, dtype=torch.float64) + 0.5), step


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("prior", vaezoo.names("prior"))
def test_in_one_dimension_it_is_normalised_and_sampled_as_scored(prior, moved):
    model = model_with(prior, 1, moved)
    z = sampled(model)
    assert z.shape == (N, 1)
    axis, step = midpoints(z, 0, 40_000)
    mass = (log_density(model, axis[:, None]) + math.log(step)).exp()
    assert abs(float(mass.sum()) - 1) < 1e-5
    nodes, cdf = (axis + step / 2).numpy(), mass.cumsum(0).numpy()
    assert stats.kstest(z[:, 0].numpy(), lambda v: np.interp(v, nodes, cdf)).pvalue > 1e-3


@pytest.mark.parametrize("prior", vaezoo.names("prior"))
def test_in_two_dimensions_it_is_normalised_and_sampled_as_scored(prior):
    model = model_with(prior, 2)
    z = sampled(model)
    (first, a), (second, b) = midpoints(z, 0, 400, 0.7), midpoints(z, 1, 400, 0.7)
    points = torch.cartesian_prod(first, second)
    log_p = log_density(model, points)
    mass = (log_p + math.log(a * b)).exp()
    assert abs(float(mass.sum()) - 1) < 1e-3
    for axis, (nodes, step) in enumerate(((first, a), (second, b))):
        cdf = mass.view(400, 400).sum(1 - axis).cumsum(0).numpy()
        upper = (nodes + step / 2).numpy()
        result = stats.kstest(z[:, axis].numpy(), lambda v, u=upper, c=cdf: np.interp(v, u, c))
        assert result.pvalue > 1e-3, f"axis {axis}"
    own = log_density(model, z)
    entropy = -float((mass * log_p).sum())
    assert abs(float(own.mean()) + entropy) < 4 * float(own.std()) / math.sqrt(N) + 1e-3


@pytest.mark.parametrize("prior", vaezoo.names("prior"))
def test_a_point_has_its_own_density(prior):
    """Values do not depend on which other points are asked about, and float32 agrees with float64."""
    double, single = model_with(prior, 3), model_with(prior, 3, dtype=torch.float32)
    z = sampled(double, n=50)
    whole = log_density(double, z)
    torch.testing.assert_close(log_density(double, z[17:19]), whole[17:19], rtol=1e-9, atol=1e-9)
    found = log_density(single, z.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prior", vaezoo.names("prior"))
def test_samples_repeat_by_key_and_stay_on_the_models_dtype(prior):
    model = model_with(prior, 2)
    assert torch.equal(sampled(model, 1), sampled(model, 1))
    assert not torch.equal(sampled(model, 1), sampled(model, 2))
    assert sampled(model).dtype == torch.float64
    assert model.sample(3).shape == (3, 1, 2, 3)


@pytest.mark.parametrize("prior", vaezoo.names("prior"))
def test_the_kl_in_closed_form_is_that_of_monte_carlo(prior):
    model = model_with(prior, 3)
    generator = torch.Generator().manual_seed(2)
    q = DiagonalGaussian(*torch.randn(2, 5, 3, generator=generator, dtype=torch.float64))
    batch = Batch(torch.zeros(5, 1, 2, 3, dtype=torch.float64), index=torch.arange(5))
    with torch.no_grad():
        closed = model.kl(batch, q)
        if closed is None:
            pytest.skip("no closed form")
        assert closed.shape == (1, 5, 3)
        with noise.stream(3, index=torch.arange(5), dtype=torch.float64):
            z, log_q = q.rsample_and_log_prob(20_000)
        ratio = (log_q - model.log_prior(batch, z)).sum(0)
    assert ((ratio.mean(0) - closed.sum((0, 2))).abs() < 4 * ratio.std(0) / math.sqrt(20_000)).all()
    assert (ratio.mean(0) > 0.5).all()


def test_the_kl_of_the_standard_normal_from_itself_is_0():
    model = model_with("normal", 3)
    q = DiagonalGaussian(torch.zeros(5, 3), torch.zeros(5, 3))
    assert not model.kl(Batch(torch.zeros(5, 1, 2, 3)), q).any()


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
    model = model_with("mixture", 3)
    prior, z = model.prior, sampled(model, n=50)
    normal = torch.distributions.Independent(torch.distributions.Normal(prior.mean, prior.log_std.exp()), 1)
    expected = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=prior.logit), normal)
    with torch.no_grad():
        torch.testing.assert_close(log_density(model, z), expected.log_prob(z))


def test_a_vampprior_is_the_mean_of_its_posteriors():
    """log p(z) = log (1/C) sum_c q(z | u_c), also after the encoder has changed: nothing of it is stored."""
    model = model_with("vampprior", 3)
    z = sampled(model, n=50)
    for _ in range(2):
        with torch.no_grad():
            q = model.encode(model.prior.pseudo_inputs.clamp(0, 1))
            each = q.log_density(z[:, None])
            torch.testing.assert_close(log_density(model, z), each.logsumexp(1) - math.log(5))
            model.encoder.net[0].weight.add_(0.3)


def test_a_vampprior_trains_pseudo_inputs_and_encoder():
    model = model_with("vampprior", 3, moved=False)
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
    model = model_with("vampprior", 2, moved=False, dtype=torch.float32)
    starts = (model.prior.pseudo_inputs.detach() - 0.05) / 0.9
    distance = (starts[:, None] - images).abs().flatten(2).amax(-1)
    assert (distance.min(1).values < 1e-5).all()
    assert float(model.prior.pseudo_inputs.detach().min()) > 0


@pytest.mark.parametrize("prior", vaezoo.names("prior"))
def test_the_gradient_is_that_of_the_density(prior):
    """Along a random direction of z and of every parameter the derivative is the central difference: nothing is cut."""
    model = model_with(prior, 3)
    z = sampled(model, n=20)
    batch = Batch(torch.zeros(1, *model.spec.shape, dtype=z.dtype), index=torch.zeros(1, dtype=torch.int64))
    own = dict(model.named_parameters())
    points = z[:, None].clone().requires_grad_()
    value = model.log_prior(batch, (points,)).sum()
    gradients = torch.autograd.grad(value, [points, *own.values()], allow_unused=True)
    generator = torch.Generator().manual_seed(4)
    for tensor, gradient in zip((points, *own.values()), gradients, strict=True):
        direction = torch.randn(tensor.shape, generator=generator).to(tensor)
        sides = []
        with torch.no_grad():
            for h in (1e-6, -2e-6, 1e-6):
                tensor.add_(h * direction)
                sides.append(float(model.log_prior(batch, (points,)).sum()))
        slope = 0.0 if gradient is None else float((gradient * direction).sum())
        assert math.isclose(slope, (sides[0] - sides[1]) / 2e-6, rel_tol=1e-4, abs_tol=1e-5)
