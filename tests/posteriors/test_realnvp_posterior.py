"""The RealNVP posterior: the Gaussian at its start, its scores cut from the weights, the gradients of DReG."""

import math

import pytest
import torch
from amortised import BINARY, drawn, inference_parameters, model_with
from linear_model import linear_model

import vaezoo
from vaezoo import VaezooError, noise
from vaezoo.builder import build
from vaezoo.flows import ElementwiseFlow


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_it_is_the_gaussian_before_training(latent):
    gaussian, realnvp = drawn(model_with("gaussian", latent)), drawn(model_with("realnvp", latent))
    assert torch.equal(realnvp.z[0], gaussian.z[0])
    assert torch.equal(realnvp.log_posterior, gaussian.log_posterior)
    assert gaussian.q.gaussian is not None
    assert realnvp.q.gaussian is None
    assert realnvp.kl is None


def test_one_latent_dimension_has_an_affine_map_of_the_features():
    model = model_with("realnvp", 1, moved=True)
    assert isinstance(model.posterior_net.flow, ElementwiseFlow)
    draws = drawn(model, samples=500)
    z, log_q = draws.z[0][..., 0], draws.log_posterior[0]
    for image in range(6):  # log q is a parabola in z, of every image another one
        columns = torch.stack([torch.ones(500, dtype=torch.float64), z[:, image], z[:, image].square()], 1)
        fit = torch.linalg.lstsq(columns, log_q[:, image, None]).solution
        torch.testing.assert_close(columns @ fit, log_q[:, image, None])
        assert fit[2] < 0


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_it_scores_given_points_as_its_own_samples(latent):
    """The map is half as far from the identity as elsewhere: with five latents it else throws points 200,000 away, and
    its inverse enlarges each rounding as much.
    """
    model = model_with("realnvp", latent, moved=True)
    with torch.no_grad():
        for parameter in model.posterior_net.parameters():
            parameter.mul_(0.5)
    draws = drawn(model)
    torch.testing.assert_close(model.log_posterior(draws.batch, draws.z), draws.log_posterior)
    assert not torch.allclose(draws.q.base.log_prob(draws.z), draws.log_posterior, atol=0.01)


def test_the_map_depends_on_the_image():
    model = model_with("realnvp", 2, moved=True)
    q = model.encode(BINARY[:2])
    points = torch.zeros(1, 2, dtype=torch.float64)
    with torch.no_grad():
        first, second = (q.flow(points, q.context[n])[0] for n in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("latent", [1, 2])
def test_the_encoder_learns_through_the_map_too(latent):
    """The derivative of the mapped points by the encoder's first bias, the base aside, is their finite difference."""
    model, points = model_with("realnvp", latent, moved=True), torch.ones(1, 6, latent, dtype=torch.float64)
    bias = model.encoder.net[0].bias

    def mapped():
        q = model.encode(BINARY[:6])
        return q.flow(points, q.context)[0].sum()

    (slope,) = torch.autograd.grad(mapped(), bias)
    ends = []
    with torch.no_grad():
        for sign in (1, -1):
            bias.add_(sign * 1e-6)
            ends.append(mapped())
            bias.sub_(sign * 1e-6)
    assert float(slope.sum()) == pytest.approx(float(ends[0] - ends[1]) / 2e-6, rel=1e-4)
    assert float(slope.abs().max()) > 0.01


def test_with_all_weights_cut_log_q_has_no_derivative_by_any():
    model = model_with("realnvp", moved=True)
    draws = drawn(model)
    fixed = tuple(group.detach() for group in draws.z)
    stopped = model.log_posterior(draws.batch, fixed, stopped=True)
    torch.testing.assert_close(stopped, draws.log_posterior)
    parameters = list(model.parameters())
    attached = stopped.sum() + sum(0 * p.sum() for p in parameters)
    assert not any(g.any() for g in torch.autograd.grad(attached, parameters))
    free = model.log_posterior(draws.batch, fixed).sum()
    found = torch.autograd.grad(free, inference_parameters(model), allow_unused=True)
    assert all(g is not None and g.any() for g in found)


def test_the_stopped_score_still_moves_with_z():
    model = model_with("realnvp", moved=True)
    draws = drawn(model)
    by_z = torch.autograd.grad(draws.log_posterior_stopped.sum(), draws.z, retain_graph=True)[0]
    point = draws.z[0].detach().requires_grad_()
    expected = torch.autograd.grad(draws.q.log_prob((point,)).sum(), point)[0]
    torch.testing.assert_close(by_z, expected)
    assert by_z.abs().max() > 0.1


def mean_gradients(power):
    """The encoder's gradient of IWAE minus that of sum_k v_k^power log w_k, v_k the normalised weights and log q cut:
    its mean over many draws and its standard error, of all parameters; and IWAE's own mean.
    """
    model = model_with("realnvp", 2, moved=True, hidden=(4,), couplings=2, width=3, activation="tanh")
    parameters, images, differences, whole = inference_parameters(model), 2000, [], []
    x, index = BINARY[:1].expand(images, 1, 3, 3), torch.arange(images)
    for chunk in range(60):
        with noise.stream(noise.derive(0, chunk), index=index, dtype=torch.float64):
            draws = model.draw(model.batch(x), 4)
        log_weight = draws.log_weight
        share = log_weight.detach().softmax(0)
        path = draws.log_likelihood + (draws.log_prior - draws.log_posterior_stopped).sum(0)
        gradients = [
            torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)])
            for value in (log_weight.logsumexp(0).mean(), (share**power * path).sum(0).mean())
        ]
        differences.append(gradients[0] - gradients[1])
        whole.append(gradients[0])
    found = torch.stack(differences)
    return found.mean(0), found.std(0) / math.sqrt(len(found)), torch.stack(whole).mean(0)


def test_dreg_and_iwae_have_the_same_mean_gradient():
    """Within 4 standard errors, all parameters of encoder and posterior. Tucker et al. (2019), arXiv:1810.04152."""
    difference, error, own = mean_gradients(2)
    used = error > 0
    assert used.sum() > 50
    assert (difference[used].abs() < 4 * error[used]).all()
    assert not difference[~used].any()
    assert (own[used].abs() > 10 * error[used]).any()


def test_the_comparison_with_iwae_can_fail():
    """The shares not squared are the gradient of another bound."""
    difference, error, _ = mean_gradients(1)
    assert (difference.abs() > 6 * error).any()


def test_the_estimate_of_log_p_is_right_with_a_moved_flow():
    known = linear_model(scale=1.3)
    model = build("ppca", known.dataset, latent=2, overrides={"posterior": ("realnvp", {"width": 8})}).double()
    model.load_state_dict(known.model.state_dict(), strict=False)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.posterior_net.flow.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    found = vaezoo.log_likelihood(model, known.x, importance_samples=4000)
    assert ((found.estimate - known.log_p(known.x)).abs() < 5 * found.standard_error).all()
    assert (found.standard_error < 0.05).all()


def test_no_layers_are_refused():
    with pytest.raises(VaezooError, match="the number of coupling layers must be 1 or more, got 0"):
        model_with("realnvp", couplings=0)
