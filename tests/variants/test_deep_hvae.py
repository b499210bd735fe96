"""The deep hierarchy: where its groups lie, its chain in one walk, what it is without dependence, and its metrics."""

import pytest
import torch
from small_hierarchies import dataset, drawn, moved, pair

from vaezoo import Skip, noise
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.groups import GaussianGroups, TopDownPrior
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.nets.top_down_path import levels, sides_of
from vaezoo.registry import registry

LATENTS = [2, 3, 8]
"""On 1x1, 1x1 and 2x2 of images of 3x3."""


def small(latent, **parts):
    return moved(pair("deep-hvae", latent, **parts)[0], 0.2)


def test_groups_lie_on_the_largest_level_that_fits():
    assert levels((5, 3)) == [(5, 3), (3, 2), (2, 1), (1, 1)]
    assert sides_of([7, 15, 30, 6], (5, 3)) == [(1, 1), (1, 1), (3, 2), (3, 2)]
    assert sides_of([4, 16, 64, 20], (4, 4)) == [(2, 2), (2, 2), (2, 2), (2, 2)]
    assert sides_of([1, 3, 2, 196], (14, 14)) == [(1, 1), (1, 1), (1, 1), (14, 14)]


@pytest.mark.parametrize("latent", [4, [2, 3], LATENTS])
def test_one_walk_gives_what_each_group_gives_alone(latent):
    """log q, log p and the KL of a walk are those that `conditional` gives, group by group."""
    model = small(latent)
    draws = drawn(model, dataset().train.x[:5], 3)
    q = model.posterior(draws.batch)
    torch.testing.assert_close(GaussianGroups.log_prob(q, draws.z), draws.log_posterior)
    torch.testing.assert_close(q.log_prob(draws.z), draws.log_posterior)
    torch.testing.assert_close(TopDownPrior.log_prob(model.prior, draws.z), draws.log_prior)
    for own, expected in zip(draws.kl, TopDownPrior.kl(model.prior, q, draws.z), strict=True):
        torch.testing.assert_close(own, expected)
    assert all(bool((each.std(0) > 1e-3).any()) for each in draws.kl)  # groups see the image


def test_groups_without_dependence_are_the_flat_model():
    """Where nothing enters the prior's path, q and p of all groups are those of one group of all dimensions."""
    model = small(LATENTS)
    with torch.no_grad():
        for module in (model.prior.path.merge, model.prior.heads):
            for parameter in module.parameters():
                parameter.zero_()
    draws = drawn(model, dataset().train.x[:5], 4)
    z, each = torch.cat(draws.z, -1), model.posterior(draws.batch).given_above(draws.z)
    means, log_stds = (torch.cat([getattr(q, name).expand(4, 5, -1) for q in each], -1) for name in ("mean", "log_std"))
    flat, zero = DiagonalGaussian(means, log_stds), torch.zeros(13, dtype=torch.float64)
    torch.testing.assert_close(means[0], means[1])  # no group depends on those above
    torch.testing.assert_close(draws.log_posterior.sum(0), flat.log_density(z))
    torch.testing.assert_close(draws.log_prior.sum(0), DiagonalGaussian(zero, zero).log_density(z))
    torch.testing.assert_close(torch.cat(draws.kl, -1), flat.kl_standard_normal()[0])


def test_the_prior_starts_at_the_normal_prior():
    model = pair("deep-hvae", LATENTS)[0]
    draws = drawn(model, dataset().train.x[:5], 4)
    zero = torch.zeros(13)
    torch.testing.assert_close(draws.log_prior.sum(0), DiagonalGaussian(zero, zero).log_density(torch.cat(draws.z, -1)))


def test_parts_that_share_no_path_are_a_skip():
    with pytest.raises(Skip, match="needs a prior with a path of width 16"):
        drawn(pair("deep-hvae", LATENTS, prior="top-down")[0], dataset().train.x[:5], 1)
    with pytest.raises(Skip, match="use the encoder 'residual'"):
        pair("deep-hvae", LATENTS, encoder="mlp")


@pytest.mark.parametrize("variant", ["deep-hvae", "ladder-vae", "hvae-2", "hvae-vampprior"])
def test_metrics_of_three_groups(variant):
    """The groups' KLs sum to the whole KL; 13 dimensions are active or idle."""
    data = dataset()
    components = {"prior": (None, {"components": 5})} if variant == "hvae-vampprior" else {}
    slots = resolve(variant, data.spec, components)
    model = moved(construct(slots, Ingredients.of(data, LATENTS, (5,)))[0], 0.05).float()
    context = Evaluation(20, 0, data, torch.arange(20))
    found = {}
    for name in ("kl-per-dimension", "active-unit-vector", "collapse"):
        found |= registry("metric")[name].target(model, data.test.x, context)
    groups = [found[f"kl_group_{n}"] for n in (1, 2, 3)]
    batch = model.batch(data.test.x, index=torch.arange(20))
    with noise.stream(noise.derive(0, "kl-per-dimension"), index=batch.index):
        draws = model.draw(batch, 64)  # the metric's own
    assert sum(groups) == pytest.approx(float(draws.kl_estimate.mean().detach()), rel=1e-4)
    if draws.kl is not None:
        each = context.vectors["kl_per_dimension"].nan_to_num().sum(1)
        torch.testing.assert_close(each, torch.tensor(groups, dtype=torch.float64))
        assert context.vectors["kl_per_dimension_order"][0].tolist()[2:] == [-1] * 6
    assert len(context.vectors["mean_variances"]) == 13
    assert 0 <= found["idle_dimensions"] <= 1
