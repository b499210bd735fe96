"""The hierarchy with a VampPrior on top: what it is without dependence, with one group, and what is refused."""

import math

import pytest
import torch
from small_hierarchies import SIZES, dataset, drawn, moved, pair

from vaezoo import Skip, noise
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.gaussian import DiagonalGaussian


def hierarchy(latent, components=5, **parts):
    data = dataset()
    chosen = {slot: (name, {}) for slot, name in parts.items()}
    slots = resolve("hvae-vampprior", data.spec, {**chosen, "prior": (None, {"components": components})})
    return construct(slots, Ingredients.of(data, latent, (5,)), seed=0)[0]


@pytest.mark.parametrize("posterior", ["top-down", "ladder"])
def test_the_top_group_is_the_mean_of_its_posteriors_and_the_others_are_top_down(posterior):
    model = moved(hierarchy([2, 1, 3], posterior=posterior))
    draws = drawn(model, dataset().train.x[:7], 4)
    with torch.no_grad():
        top = model.encode(model.prior.top.pseudo_inputs.clamp(0, 1)).conditional(())
        each = top.log_density(draws.z[0][..., None, :])
        torch.testing.assert_close(draws.log_prior[0], each.logsumexp(-1) - math.log(5))
        for n in (1, 2):
            p = DiagonalGaussian.from_heads(model.prior.below[n - 1].net(draws.z[n - 1]))
            torch.testing.assert_close(draws.log_prior[n], p.log_density(draws.z[n]))
    assert draws.kl is None


def test_groups_without_dependence_are_the_flat_model():
    """Where q(z_1|x) is one Gaussian for all images, p(z_1) is that one; the rest is a VAE of the lowest group."""
    deep, flat = moved(hierarchy([2, 3])), moved(pair("vae", 3)[0])
    with torch.no_grad():
        deep.posterior_net.top.weight.zero_()
        deep.posterior_net.below[0].layers[0].weight.zero_()
        for parameter in deep.prior.below.parameters():
            parameter.zero_()
    for name in ("encoder", "decoder", "likelihood"):
        getattr(flat, name).load_state_dict(getattr(deep, name).state_dict())
    draws = drawn(deep, dataset().train.x[:7], 5)
    lowest = deep.posterior(draws.batch).conditional(draws.z[:1])
    expected = flat.log_likelihood(draws.batch, draws.z[1:]) + flat.log_prior(draws.batch, draws.z[1:])[0]
    torch.testing.assert_close(draws.log_weight, expected - lowest.log_density(draws.z[1]))


def test_one_group_is_the_vae_with_a_vampprior():
    """With the same weights, bit for bit."""
    data = dataset()
    slots = resolve("vae-vampprior", data.spec, {"prior": (None, {"components": 5})})
    deep, flat = hierarchy(3), construct(slots, Ingredients.of(data, 3, (5,)), seed=0)[0]
    names = zip(flat.state_dict().values(), deep.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in names)
    one, other = drawn(flat, data.train.x[:7], 4), drawn(deep, data.train.x[:7], 4)
    assert torch.equal(one.log_prior, other.log_prior)
    torch.testing.assert_close(one.log_weight, other.log_weight)


def test_draws_of_the_top_group_have_the_mean_of_its_posteriors():
    model = moved(hierarchy(SIZES["two"]))
    with torch.no_grad(), noise.stream(noise.derive(0, "prior"), dtype=torch.float64):
        top = model.encode(model.prior.top.pseudo_inputs.clamp(0, 1)).conditional(())
        z = model.prior_sample(20000)
    assert [group.shape[1] for group in z] == SIZES["two"]
    error = z[0].std(0) / math.sqrt(20000)
    assert bool(((z[0].mean(0) - top.mean.mean(0)).abs() < 5 * error).all())


def test_a_posterior_that_is_drawn_from_the_bottom_up_is_a_skip():
    with pytest.raises(Skip, match="of the top group as a Gaussian, for the densities"):
        drawn(hierarchy([2, 3], posterior="bottom-up"), dataset().train.x[:7], 2).log_prior  # noqa: B018
