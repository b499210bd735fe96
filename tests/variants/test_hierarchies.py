"""Hierarchies and ladders: what they are without dependence, their KL, gradients, training, and what is refused."""

import math

import pytest
import torch
from small_hierarchies import SIZES, by_every_parameter, dataset, drawn, moved, pair, those_of

from vaezoo import Skip, bounds
from vaezoo.api import plan_of
from vaezoo.builder import Ingredients, construct, rehearse, resolve
from vaezoo.objectives.dreg import DReG
from vaezoo.training.loop import train, train_pack
from vaezoo.training.options import TrainingOptions

HIERARCHIES = ("hvae-2", "ladder-vae")


def without_dependence(model):
    """Set what leads from group to group to 0, and a ladder's estimate of the top group too."""
    nets = [*model.prior.below, *model.posterior_net.above]
    heads = getattr(model.posterior_net, "heads", [])
    with torch.no_grad():
        for module in [*nets, *(list(heads)[1:] if isinstance(heads, torch.nn.ModuleList) else [])]:
            for parameter in module.parameters():
                parameter.zero_()
    return model


@pytest.mark.parametrize("variant", HIERARCHIES)
def test_groups_without_dependence_are_the_flat_model(variant):
    """With p(z_2|z_1) = N(0, I) and the top group's q and p N(0, I), log w is that of a VAE of the lowest group."""
    x = dataset().train.x[:7]
    deep, flat = without_dependence(moved(pair(variant, [2, 3])[0])), moved(pair("vae", 3)[0])
    for name in ("encoder", "decoder", "likelihood"):
        getattr(flat, name).load_state_dict(getattr(deep, name).state_dict())
    draws = drawn(deep, x, 5)
    q = deep.posterior(draws.batch)
    lowest = q.conditional(() if q.bottom_up else draws.z[:1])
    log_prior, log_q = flat.log_prior(draws.batch, draws.z[1:])[0], lowest.log_density(draws.z[1])
    expected = flat.log_likelihood(draws.batch, draws.z[1:]) + log_prior - log_q
    torch.testing.assert_close(draws.log_weight, expected)
    torch.testing.assert_close(draws.log_prior[1], log_prior)
    if draws.kl is not None:
        torch.testing.assert_close(draws.kl[0], torch.zeros(7, 2, dtype=torch.float64))
        torch.testing.assert_close(draws.kl[1], lowest.kl_standard_normal().mean(0))


@pytest.mark.parametrize("variant", HIERARCHIES)
def test_one_group_is_the_vae(variant):
    """With the same weights: samples bit for bit, and the KL, of which there are two formulas, up to rounding."""
    deep, flat = pair(variant, 3)[0], pair("vae", 3)[0]
    names = zip(flat.state_dict().values(), deep.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in names)
    x = dataset().train.x[:7]
    one, other = drawn(flat, x, 4), drawn(deep, x, 4)
    assert torch.equal(one.z[0], other.z[0])
    torch.testing.assert_close(one.log_weight, other.log_weight)
    torch.testing.assert_close(one.kl[0], other.kl[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sizes", ["two", "three"])
def test_a_ladder_has_a_closed_form_kl_and_a_hierarchy_from_the_bottom_has_none(sizes):
    x = dataset().train.x[:7]
    draws = drawn(moved(pair("ladder-vae", SIZES[sizes])[0]), x, 4)
    assert [tuple(group.shape) for group in draws.kl] == [(7, size) for size in SIZES[sizes]]
    assert all((group >= 0).all() for group in draws.kl)
    assert drawn(moved(pair("hvae-2", SIZES[sizes])[0]), x, 4).kl is None


@pytest.mark.parametrize("sizes", ["two", "three"])
def test_the_elbo_and_its_gradients_agree_between_the_closed_form_and_the_samples(sizes):
    """E[kl(q, z)] = E_q[log q - log p], and so are their derivatives by every parameter: within 4 standard errors."""
    model, x = moved(pair("ladder-vae", SIZES[sizes])[0]), dataset().train.x[:5]
    off, size = [], []
    for seed in range(60):
        draws = drawn(model, x, 400, seed)
        closed = draws.log_likelihood.mean(0) - draws.kl_estimate
        values = [closed.mean(), bounds.elbo(draws).mean()]
        found = [torch.cat([value.detach()[None], by_every_parameter(model, value)]) for value in values]
        off.append(found[0] - found[1])
        size.append(found[0])
    off, size = torch.stack(off), torch.stack(size).mean(0)
    error = off.std(0) / math.sqrt(len(off))
    assert (off.mean(0).abs() <= 4 * error + 1e-12).all()
    prior = those_of(model, model.prior)
    assert (size[1:][prior].abs() > 20 * error[1:][prior]).any()


@pytest.mark.parametrize(
    ("variant", "latent"),
    [("vae", 3), *((variant, SIZES[sizes]) for variant in HIERARCHIES for sizes in ("two", "three"))],
)
def test_no_parameter_moves_log_q_with_its_weights_cut(variant, latent):
    """The derivative at given points by every parameter is exactly 0, those of a ladder's prior among them."""
    model, x = moved(pair(variant, latent)[0]), dataset().train.x[:7]
    draws = drawn(model, x, 4)
    z = tuple(group.detach().requires_grad_() for group in draws.z)
    live, cut = (model.log_posterior(draws.batch, z, stopped=stopped) for stopped in (False, True))
    assert torch.equal(live, cut)
    assert not by_every_parameter(model, cut.sum() + 0 * live.sum()).any()
    for one, other in zip(*(torch.autograd.grad(v.sum(), z, retain_graph=True) for v in (live, cut)), strict=True):
        torch.testing.assert_close(one, other)
        assert other.any()
    moves = by_every_parameter(model, live.sum()) != 0
    assert (moves & those_of(model, model.encoder)).any()
    assert (moves & those_of(model, model.posterior_net)).any()
    assert (moves & those_of(model, model.prior)).any() == (variant == "ladder-vae")


def dreg(model, draws, cut_prior=True):
    """The gradient of IWAE in expectation: sum_k w_k^2 d log w_k by the samples' path and sum_k w_k d log p by p's
    weights, with normalised w_k. Tucker et al. (2019), arXiv:1810.04152.

    cut_prior: whether the prior's weights, which a ladder's q has too, are cut in log q, as they must be.
    """
    share = draws.log_weight.softmax(0).detach()
    fixed = tuple(group.detach() for group in draws.z)
    log_likelihood, log_prior = model.log_joint(draws.batch, fixed)
    path = draws.log_likelihood + (draws.log_prior - draws.log_posterior_stopped).sum(0)
    own = (share - share.square()) * (log_likelihood + log_prior.sum(0))
    found = by_every_parameter(model, (share.square() * path + own).sum(0).mean())
    if cut_prior:
        return found
    live = share.square() * model.log_posterior(draws.batch, fixed).sum(0)
    return found - those_of(model, model.prior) * by_every_parameter(model, live.sum(0).mean())


def mean_and_error(gradients):
    """The mean of some gradients and its standard error, for each parameter."""
    every = torch.stack(gradients)
    return every.mean(0), every.std(0) / math.sqrt(len(every))


@pytest.mark.nightly
@pytest.mark.parametrize(("variant", "latent"), [("vae", 3), *((variant, [2, 3]) for variant in HIERARCHIES)])
def test_dreg_and_iwae_have_one_mean_gradient(variant, latent):
    """By all parameters, within 4 standard errors, the objective's two values each by its own group of them; with a
    ladder's prior live in log q they are far apart.
    """
    model, x = moved(pair(variant, latent)[0], 0.3), dataset().train.x[:5].repeat(200, 1, 1, 1)
    plain, double, own, live = [], [], [], []
    of_q = those_of(model, model.encoder) | those_of(model, model.posterior_net)
    for seed in range(60):
        plain.append(by_every_parameter(model, bounds.iwll(drawn(model, x, 4, seed)).mean()))
        draws = drawn(model, x, 4, 1000 + seed)
        double.append(dreg(model, draws))
        value = DReG(importance_samples=4)(draws)
        by_group = [by_every_parameter(model, value[name].mean()) for name in ("inference", "generative")]
        own.append(torch.where(of_q, *by_group))
        if variant == "ladder-vae":
            live.append(dreg(model, draws, cut_prior=False))
    mean, error = mean_and_error(plain)
    for gradients in (double, own):
        other, others = mean_and_error(gradients)
        within = (error.square() + others.square()).sqrt()
        assert ((mean - other).abs() <= 4 * within + 1e-12).all()
        assert (other.abs() > 20 * others).sum() > 20
    if live:
        assert ((mean - mean_and_error(live)[0]).abs() > 20 * within).any()


@pytest.mark.parametrize("latent", [[4, 8], [2, 4, 3]])
@pytest.mark.parametrize("variant", HIERARCHIES)
def test_groups_of_any_sizes_train_and_draw(variant, latent):
    """Alone and in a pack of two seeds, equal to rounding; the weights go into a model that is built without data."""
    data, seeds = dataset(), [3, 1]
    settings = TrainingOptions(epochs=4, batch_size=20, learning_rate=1e-2, validation_images=None)
    pairs = [pair(variant, latent, seed) for seed in seeds]
    packed = train_pack(*zip(*pairs, strict=True), data, settings, seeds=seeds)
    for seed, (in_pack, _), outcome in zip(seeds, pairs, packed, strict=True):
        model, objective = pair(variant, latent, seed)
        alone = train(model, objective, data, settings, seed=seed)
        curves = [torch.tensor([each.validation_iwll for each in one.history]) for one in (alone, outcome)]
        torch.testing.assert_close(*curves, rtol=1e-4, atol=1e-4)
        assert curves[0][-1] > curves[0][0]
        for name, value in model.state_dict().items():
            torch.testing.assert_close(in_pack.state_dict()[name], value, rtol=1e-2, atol=2e-3, msg=name)
    slots = resolve(variant, data.spec)
    blank, _ = construct(slots, Ingredients.blank(data.spec, latent, (5,), 60))
    blank.load_state_dict(model.state_dict())
    x = data.test.x
    assert torch.equal(drawn(blank, x, 3).log_weight, drawn(model, x, 3).log_weight)
    assert [tuple(group.shape) for group in model.prior_sample(4)] == [(4, size) for size in latent]
    assert model.sample(4).shape == (4, 1, 3, 3)
    assert model.reconstruct(x).shape == x.shape


@pytest.mark.parametrize(
    ("variant", "parts", "reason"),
    [
        ("hvae-2", {"prior": "normal"}, "prior 'normal' has one latent group, and 2 are asked for"),
        ("ladder-vae", {"prior": "normal"}, "prior 'normal' has one latent group, and 2 are asked for"),
        ("vae", {"prior": "top-down"}, "posterior 'gaussian' has one latent group, and 2 are asked for"),
        ("vae", {}, "posterior 'gaussian' has one latent group, and 2 are asked for"),
    ],
)
def test_a_flat_part_among_two_groups_is_a_skipped_row(variant, parts, reason):
    data = dataset()
    slots = resolve(variant, data.spec, {slot: (name, {}) for slot, name in parts.items()})
    error = rehearse(slots, Ingredients.of(data, [2, 3], (5,))).error
    assert isinstance(error, Skip)
    assert reason in str(error)


def test_a_plan_skips_the_flat_rows_and_keeps_the_others():
    rows = [{"name": "hvae-2"}, {"name": "hvae-2", "label": "flat", "prior": "normal"}, {"name": "ladder-vae"}]
    matrix = {"datasets": ["digits-binary"], "model": {"latent": [4, 8], "hidden": [4]}, "variants": rows}
    plan, _ = plan_of(matrix, device="cpu")
    skipped = {cell.label: cell.skip for cell in plan.cells}
    assert skipped == {
        "hvae-2": None,
        "flat": "prior 'normal' has one latent group, and 2 are asked for",
        "ladder-vae": None,
    }
