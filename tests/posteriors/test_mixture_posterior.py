"""The mixture posterior: the Gaussian for equal components, and torch's density."""

import pytest
import torch
from amortised import drawn, model_with

from vaezoo import DiagonalGaussian, VaezooError
from vaezoo.posteriors.mixture import MixtureDistribution


def test_a_mixture_of_one_is_the_gaussian():
    gaussian, mixture = drawn(model_with("gaussian")), drawn(model_with("mixture", components=1))
    assert torch.equal(mixture.z[0], gaussian.z[0])
    assert torch.equal(mixture.log_posterior, gaussian.log_posterior)
    assert torch.equal(mixture.kl[0], gaussian.kl[0])


def test_equal_components_have_the_density_of_one():
    draws = drawn(model_with("gaussian"))
    one = draws.q
    mixture = MixtureDistribution(DiagonalGaussian(one.mean.expand(5, -1, -1), one.log_std.expand(5, -1, -1)))
    torch.testing.assert_close(mixture.log_prob(draws.z), draws.log_posterior)


def test_it_has_the_density_of_torch():
    draws = drawn(model_with("mixture", moved=True, components=3), samples=20)
    mean, std = (each.movedim(0, 1) for each in (draws.q.components.mean, draws.q.components.std))
    normal = torch.distributions.Independent(torch.distributions.Normal(mean, std), 1)
    weights = torch.distributions.Categorical(logits=torch.zeros(3, dtype=mean.dtype))
    expected = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(probs=weights.probs.expand(6, 3)), normal
    )
    torch.testing.assert_close(draws.log_posterior[0], expected.log_prob(draws.z[0]))
    assert draws.kl is None
    assert draws.q.gaussian is None


def test_the_number_of_components_is_checked():
    with pytest.raises(VaezooError, match="components must be 1 or more, got 0"):
        model_with("mixture", components=0)
