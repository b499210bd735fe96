"""The Hamiltonian posterior: leapfrog steps, log q in the space extended by the momentum, gradients inside a pass."""

import math

import pytest
import torch
from amortised import BINARY, drawn, model_with
from linear_model import linear_model

import vaezoo
from vaezoo import DiagonalGaussian, Skip, VaezooError, noise
from vaezoo.builder import build
from vaezoo.posteriors.hamiltonian import HamiltonianDistribution

OPTIONS = {"leapfrogs": 4, "step": 0.2, "inverse_temperature": 0.4}


def known_with_hamiltonian(scale=1.3, shift=0.4, **options):
    """A model whose log p(x) is known, and the same one whose q is the start of Hamiltonian dynamics."""
    known = linear_model(scale=scale, shift=shift)
    overrides = {"posterior": ("hamiltonian", {**OPTIONS, **options})}
    model = build("ppca", known.dataset, latent=2, overrides=overrides).double()
    model.load_state_dict(known.model.state_dict(), strict=False)
    return known, model


@pytest.mark.parametrize("latent", [1, 3])
def test_without_steps_it_is_the_gaussian(latent):
    gaussian = drawn(model_with("gaussian", latent))
    still = drawn(model_with("hamiltonian", latent, leapfrogs=0))
    assert torch.equal(still.z[0], gaussian.z[0])
    assert torch.equal(still.log_posterior, gaussian.log_posterior)


def test_the_steps_are_those_of_the_paper():
    """Two half steps of the momentum about each step of z, then the quadratic tempering of its section 3.2."""
    model = model_with("hamiltonian", moved=True, **OPTIONS)
    batch, part, steps = model.batch(BINARY[:6]), model.posterior_net, OPTIONS["leapfrogs"]
    q = model.posterior(batch)
    generator = torch.Generator().manual_seed(0)
    z, momentum = torch.randn(2, 4, 6, 3, generator=generator, dtype=torch.float64)
    found = q.move(z, momentum)

    def slope(z):
        z = z.detach().requires_grad_()
        log_likelihood, log_prior = model.log_joint(batch, (z,))
        return torch.autograd.grad((log_likelihood + log_prior.sum(0)).sum(), z)[0]

    step = (part.largest_step * part.raw_step.sigmoid()).detach()
    hot = 1 / part.raw_inverse_temperature.sigmoid().sqrt().detach()
    roots = [1 / ((1 - hot) * k**2 / steps**2 + hot) for k in range(steps + 1)]  # sqrt(beta_k)
    for k in range(1, steps + 1):
        momentum = momentum + step / 2 * slope(z)
        z = z + step * momentum
        momentum = (momentum + step / 2 * slope(z)) * roots[k - 1] / roots[k]
    torch.testing.assert_close(found[0], z)
    torch.testing.assert_close(found[1], momentum)
    assert float(roots[-1]) == pytest.approx(1)


def test_log_q_is_that_of_the_change_of_variables_of_z_and_momentum():
    """log q = log N(eps) + log N(gamma) - log |det d(z_N, rho_N)/d(eps, gamma)| - log N(rho_N), by automatic
    differentiation.
    """
    model = model_with("hamiltonian", 2, moved=True, **OPTIONS)
    q = model.posterior(model.batch(BINARY[:1]))
    standard = DiagonalGaussian(torch.zeros(2), torch.zeros(2))
    for numbers in torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        given = [part.view(1, 1, 2) for part in numbers.chunk(2)]
        with noise.given_normals(given):
            (z,), log_q = q.rsample_and_log_prob(1)

        def end(numbers, q=q):
            eps, gamma = (part.view(1, 1, 2) for part in numbers.chunk(2))
            return torch.cat(q.move(q.start.mean + q.start.std * eps, q.roots[0] * gamma), -1).flatten()

        reached = end(numbers)
        torch.testing.assert_close(reached[:2], z[0, 0])
        log_det = torch.linalg.slogdet(torch.autograd.functional.jacobian(end, numbers)).logabsdet
        extended = standard.log_density(numbers.view(2, 2)).sum() - log_det
        torch.testing.assert_close(log_q[0, 0, 0], extended - standard.log_density(reached[2:]))


@pytest.mark.parametrize("options", [{}, {"leapfrogs": 1}, {"leapfrogs": 8, "inverse_temperature": 0.9}])
def test_the_estimate_of_log_p_is_right(options):
    """E[w] = p(x): the weights are those of the extended space. The estimator takes the gradients under no_grad."""
    known, model = known_with_hamiltonian(**options)
    found = vaezoo.log_likelihood(model, known.x, importance_samples=4000)
    assert ((found.estimate - known.log_p(known.x)).abs() < 5 * found.standard_error).all()
    assert (found.standard_error < 0.05).all()
    assert (found.elbo < known.log_p(known.x)).all()


@pytest.mark.filterwarnings("ignore:.*Pareto k is above")
def test_without_the_momentum_log_p_is_wrong(monkeypatch):
    """log q0(z_0) alone for log q of the same points."""
    known, model = known_with_hamiltonian(leapfrogs=8, inverse_temperature=0.9)

    def forgetful(self, samples):
        (z,), log_q = self.start.rsample_and_log_prob(samples)
        z, _ = self.move(z, self.roots[0] * noise.normal(*z.shape))
        return (z,), log_q

    monkeypatch.setattr(HamiltonianDistribution, "rsample_and_log_prob", forgetful)
    found = vaezoo.log_likelihood(model, known.x, importance_samples=4000)
    assert (found.estimate > known.log_p(known.x) + 5 * found.standard_error).all()


def test_without_cooling_exact_dynamics_keep_the_weights():
    """log p(x, z) + log N(rho) is then conserved, so that log w is that of the start: it is the cooling that helps."""
    known, model = known_with_hamiltonian(leapfrogs=40, step=0.005, inverse_temperature=1 - 1e-9)
    draws = []
    for each in (known.model, model):
        with noise.stream(0, index=torch.arange(8), dtype=torch.float64):
            draws.append(each.draw(each.batch(known.x), 20))
    start, end = draws
    assert (end.z[0] - start.z[0]).abs().mean() > 0.05
    torch.testing.assert_close(end.log_weight, start.log_weight, rtol=0, atol=1e-3)


@pytest.mark.filterwarnings("ignore:.*Pareto k is above")
def test_the_dynamics_raise_the_elbo_of_a_poor_start():
    known, model = known_with_hamiltonian(scale=2.0, shift=2.0, leapfrogs=10, inverse_temperature=0.3)
    _, still = known_with_hamiltonian(scale=2.0, shift=2.0, leapfrogs=0)
    moved, kept = (vaezoo.log_likelihood(each, known.x, importance_samples=2000).elbo for each in (model, still))
    torch.testing.assert_close(kept, known.log_p(known.x) - known.divergence, atol=0.3, rtol=0)
    assert (moved > kept + 1).all()


def test_blocks_of_samples_are_one_run_of_samples():
    model = model_with("hamiltonian", moved=True, **OPTIONS)
    batch, index = model.batch(BINARY[:6]), torch.arange(6)
    with torch.no_grad():
        q, found = model.posterior(batch), []
        for first, count in ((0, 7), (0, 3), (3, 4)):
            with noise.stream(0, index=index, first=first, dtype=torch.float64):
                found.append(model.draw_from(q, batch, count).log_weight)
    torch.testing.assert_close(found[0], torch.cat(found[1:]))


def test_training_differentiates_the_gradients_again():
    """d log q / d(decoder's weights) is their finite difference: log q depends on them through the steps alone."""
    model = model_with("hamiltonian", moved=True, **OPTIONS)
    weight = model.decoder.net[1].weight
    draws = drawn(model)
    (slope,) = torch.autograd.grad(draws.log_posterior.sum(), weight)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ends = []
    with torch.no_grad():
        for sign in (1, -1):
            weight.add_(sign * 1e-6 * direction)
            ends.append(drawn(model).log_posterior.sum())
            weight.sub_(sign * 1e-6 * direction)
    expected = float(ends[0] - ends[1]) / 2e-6
    assert float((slope * direction).sum()) == pytest.approx(expected, rel=1e-4)
    assert abs(expected) > 0.01


def test_a_conditional_model_hands_the_steps_its_context():
    """The gradient of log p(x, z|context): another context is another path from the same start."""
    context = torch.eye(3)[torch.arange(40) % 3]
    split = (BINARY, None, context)
    model = build(
        "conditional-vae",
        vaezoo.Dataset(split, split, split, measure="binary"),
        latent=2,
        hidden=(6,),
        overrides={"posterior": ("hamiltonian", OPTIONS)},
    ).double()
    q = model.encode(BINARY[:6], context[:6])
    other = model.encode(BINARY[:6], context[1:7])
    start = torch.zeros(1, 6, 2, dtype=torch.float64)
    with torch.no_grad():
        ends = [each.move(start, start)[0] for each in (q, q, other)]
    assert torch.equal(ends[0], ends[1])
    assert not torch.isclose(ends[0], ends[2]).any()


def test_it_scores_only_its_own_samples():
    model = model_with("hamiltonian")
    draws = drawn(model)
    assert draws.q.log_prob(draws.z) is None
    assert draws.kl is None
    with pytest.raises(Skip, match="can score only its own samples"):
        _ = draws.log_posterior_stopped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leapfrogs": -1}, "leapfrogs must be 0 or more, got -1"),
        ({"step": 0.5}, r"step must lie between 0 and largest_step = 0\.5, got 0\.5"),
        ({"step": 0.0}, "step must lie between 0"),
        ({"inverse_temperature": 1.0}, "inverse_temperature must lie between 0 and 1, got 1"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(VaezooError, match=message):
        model_with("hamiltonian", **options)


def test_its_log_q_is_finite_for_inputs_far_out():
    model = model_with("hamiltonian", **OPTIONS)
    with torch.no_grad():
        model.posterior_net.heads[1].bias.fill_(300.0)
    draws = drawn(model)
    assert math.isfinite(float(draws.log_posterior.detach().abs().max()))
