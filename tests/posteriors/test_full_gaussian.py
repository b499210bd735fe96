"""The full Gaussian posterior: the diagonal one at its start, torch's density and KL, and priors without a KL."""

import pytest
import torch
from amortised import BINARY, drawn, model_with

from vaezoo import DiagonalGaussian
from vaezoo.core.errors import NoClosedForm


@pytest.mark.parametrize("latent", [1, 3])
def test_with_a_diagonal_factor_it_is_the_gaussian(latent):
    gaussian, full = drawn(model_with("gaussian", latent)), drawn(model_with("full-gaussian", latent))
    torch.testing.assert_close(full.z[0], gaussian.z[0])
    torch.testing.assert_close(full.log_posterior, gaussian.log_posterior)
    torch.testing.assert_close(full.kl[0], gaussian.kl[0])
    assert full.q.gaussian is None


def test_it_has_the_density_of_torch():
    draws = drawn(model_with("full-gaussian", moved=True))
    q = torch.distributions.MultivariateNormal(draws.q.base.mean, scale_tril=draws.q.factor)
    torch.testing.assert_close(draws.log_posterior[0], q.log_prob(draws.z[0]))
    torch.testing.assert_close(draws.q.log_prob(draws.z), draws.log_posterior)
    assert draws.q.below.abs().min(0).values.tril(-1).max() > 0.01


def test_its_kl_from_diagonal_gaussians_is_that_of_torch():
    q = drawn(model_with("full-gaussian", moved=True)).q
    own = torch.distributions.MultivariateNormal(q.base.mean, scale_tril=q.factor)
    generator = torch.Generator().manual_seed(2)
    mean, log_std = (torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    for p, found in (
        (DiagonalGaussian(mean, log_std), q.for_kl.kl(DiagonalGaussian(mean, log_std))),
        (DiagonalGaussian(0 * mean, 0 * mean), q.for_kl.kl_standard_normal()),
    ):
        other = torch.distributions.MultivariateNormal(p.mean, scale_tril=p.std.diag_embed())
        torch.testing.assert_close(found.sum(-1), torch.distributions.kl_divergence(own, other))


def test_a_prior_that_needs_independent_dimensions_has_no_closed_form():
    model = model_with("full-gaussian", moved=True)
    batch, q = model.batch(BINARY[:6]), drawn(model).q

    class Reads(type(model.prior)):
        def kl(self, q):
            return None if q.gaussian is None else (q.gaussian.std,)

    model.prior = Reads(3)
    assert model.kl(batch, q, drawn(model).z) is None
    with pytest.raises(NoClosedForm, match="a full Gaussian has no log_std of independent dimensions"):
        _ = q.for_kl.std
