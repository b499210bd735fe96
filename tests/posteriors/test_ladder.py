"""The ladder posterior: q(z_l|z_above, x) by hand, and the priors that it cannot merge with."""

import torch
from torch import nn

import vaezoo
from vaezoo import DiagonalGaussian, Skip, Variant
from vaezoo.builder import Ingredients, construct, rehearse, resolve
from vaezoo.posteriors.ladder import Ladder
from vaezoo.priors.top_down import TopDown


def test_a_group_below_the_top_weighs_both_estimates_by_their_precision():
    """mean = (m / s^2 + m' / s'^2) / (1 / s^2 + 1 / s'^2) and 1 / std^2 = 1 / s^2 + 1 / s'^2, of the image's estimate
    and the prior's; the top group is the image's estimate.
    """
    torch.manual_seed(0)
    ladder, prior = Ladder((6,), (2, 3), (4,)).double(), TopDown((2, 3), (4,)).double()
    features = torch.randn(7, 6, dtype=torch.float64)
    z = (torch.randn(5, 7, 2, dtype=torch.float64), torch.randn(5, 7, 3, dtype=torch.float64))
    top, low = ladder(features, prior).given_above(z)
    estimate = DiagonalGaussian.from_heads(ladder.heads[0](features))
    given = prior.conditional(z[:1])
    weights = estimate.std**-2, given.std**-2
    torch.testing.assert_close(low.std**-2, sum(weights))
    torch.testing.assert_close(low.mean, (estimate.mean * weights[0] + given.mean * weights[1]) / sum(weights))
    expected = DiagonalGaussian.from_heads(ladder.heads[1](ladder.above[0](features)))
    assert torch.equal(top.mean, expected.mean)
    assert torch.equal(top.log_std, expected.log_std)


DATA = vaezoo.Dataset(*[torch.zeros(20, 1, 3, 3)] * 3, measure="binary")


class OneStep(vaezoo.Prior):
    """Two groups, but no Gaussian of one given the other."""

    def __init__(self, latents: tuple[int, ...]):
        super().__init__()
        self.latents, self.shift = latents, nn.Parameter(torch.zeros(()))

    def log_prob(self, z):
        return torch.stack([-(group - self.shift).abs().sum(-1) for group in z])

    def sample(self, n):
        return tuple(vaezoo.noise.normal(n, size) for size in self.latents)


def test_a_prior_without_conditionals_is_a_skip_that_names_one_with(own_registry):
    own_registry.prior("one-step")(OneStep)
    slots = resolve(Variant("t", posterior="ladder", prior="one-step"), DATA.spec)
    error = rehearse(slots, Ingredients.of(DATA, [2, 3], (5,))).error
    assert isinstance(error, Skip)
    assert "which OneStep does not have; use the prior 'top-down'" in str(error)
    slots["posterior"] = ("bottom-up", {"activation": "relu"})
    assert rehearse(slots, Ingredients.of(DATA, [2, 3], (5,))).error is None


def test_a_ladder_of_one_group_takes_any_flat_prior():
    slots = resolve(Variant("t", posterior="ladder"), DATA.spec)
    model, _ = construct(slots, Ingredients.of(DATA, 3, (5,)))
    draws = model.draw(model.batch(DATA.test.x[:2]), 2)
    torch.testing.assert_close(draws.kl[0], draws.q.gaussian.kl_standard_normal())
