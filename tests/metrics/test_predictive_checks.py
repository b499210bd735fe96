"""Posterior predictive checks: a right likelihood passes, one without the counts' spread does not."""

import pytest
import torch

from vaezoo import Dataset, LatentModel
from vaezoo.core.contracts import Decoder, Encoder
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics.predictive_checks import predictive_checks
from vaezoo.posteriors.gaussian import Gaussian
from vaezoo.priors.normal import Normal
from vaezoo.registry import registry

PIXELS, MEAN, IMAGES = 4, 3.0, 600


class Still(Encoder):
    features = (1,)

    def forward(self, x):
        return x.new_zeros(len(x), 1)


class Constant(Decoder):
    """The same log-rate for each z."""

    def forward(self, z):
        return z.new_full((len(z), PIXELS), MEAN).log()


def checked(likelihood, variance, count=20):
    """The metric for images NB(mean 3) of this variance, or Poisson ones, under a model of constant rate."""
    generator = torch.Generator().manual_seed(0)
    rate = torch.full((IMAGES, PIXELS), MEAN)
    if variance > MEAN:
        r = MEAN**2 / (variance - MEAN)
        torch.manual_seed(0)
        rate = rate * torch.distributions.Gamma(r, r).sample((IMAGES, PIXELS))
    x = torch.poisson(rate, generator=generator)
    data = Dataset(x[:2], x[:2], x, measure="counts")
    made = registry("likelihood")[likelihood].target(data.spec)
    posterior = Gaussian((1,), 2)
    model = LatentModel(Still(), posterior, Normal(2), Constant(), made, data.spec, (2,))
    if likelihood == "negative-binomial":
        torch.nn.init.constant_(made.raw_dispersion, torch.tensor(MEAN**2 / (variance - MEAN)).log().item())
    context = Evaluation(5, 0, data, torch.arange(IMAGES))
    return predictive_checks(model, data.test.x, context, count=count), context


@pytest.mark.parametrize(("likelihood", "variance"), [("poisson", 3.0), ("negative-binomial", 9.0)])
def test_a_right_likelihood_passes(likelihood, variance):
    found, context = checked(likelihood, variance)
    assert all(found[f"{name}_p_value"] > 0.05 for name in ("zero_fraction", "mean", "variance"))
    assert found["zero_fraction_error"] < 0.03
    assert found["mean_error"] < 0.1
    assert context.vectors["predicted_mean"].shape == (2, PIXELS)


def test_a_likelihood_without_the_counts_spread_does_not():
    """Poisson's variance is 3 in place of 9, and its zeros are rarer; the mean is right."""
    found, context = checked("poisson", 9.0)
    assert found["variance_p_value"] == found["zero_fraction_p_value"] == pytest.approx(2 / 21)
    assert found["variance_error"] > 0.5
    assert context.vectors["predicted_variance"].mean(1).tolist() == pytest.approx([9.0, 3.0], rel=0.2)
    assert found["mean_error"] < 0.1
