"""The one estimator of log p(x): blocks, order, exact K, overflow, its error, and what it refuses."""

import math

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo.builder import build
from vaezoo.core import noise
from vaezoo.evaluation.estimate import evaluating, log_likelihood

SHAPE = (1, 3, 3)
FIELDS = ("estimate", "standard_error", "effective_samples", "elbo", "reconstruction", "kl", "pareto_k")


def images(n=23):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0)).round()


def small_model(variant="vae", dtype=torch.float32, latent=3, **overrides):
    x = images()
    return build(
        variant, vaezoo.Dataset(x, x, x, measure="binary"), latent=latent, hidden=(8,), overrides=overrides
    ).to(dtype)


def spied(model):
    """Every block's [K, B] and its log weights, as the estimator draws them."""
    blocks, original = [], model.draw_from

    def draw_from(q, batch, samples):
        draws = original(q, batch, samples)
        blocks.append(draws.log_weight.detach().clone())
        return draws

    model.draw_from = draw_from
    return blocks


def shifted(model, by):
    """The same model with `by` added to every log p(x|z)."""
    original = model.likelihood.log_prob
    model.likelihood.log_prob = lambda x, parameters: original(x, parameters) + by
    return model


def assert_same(one, other, tolerance=1e-5, rows=slice(None)):
    for name in FIELDS:
        torch.testing.assert_close(
            *(getattr(one, name)[rows], getattr(other, name)), rtol=tolerance, atol=tolerance, equal_nan=True, msg=name
        )


@pytest.mark.parametrize("block", [1, 9 * 23, 9 * 23 * 7 + 5])
def test_the_block_of_samples_changes_nothing(monkeypatch, block):
    model, whole = small_model(), log_likelihood(small_model(), images(), 101)
    monkeypatch.setattr("vaezoo.evaluation.blocks.CPU_BLOCK", block)
    blocks = spied(model)
    assert_same(whole, log_likelihood(model, images(), 101))
    assert len(blocks) == math.ceil(101 / max(1, block // (9 * 23)))


@pytest.mark.parametrize("at_once", [1, 4, 7])
def test_the_numbers_that_a_decoder_draws_are_keyed_by_the_sample(monkeypatch, at_once):
    """Whether it decodes all samples of a block at once or a few at a time; also what is drawn after them."""

    def drawing():
        model = small_model()
        log_prob, log_density = model.likelihood.log_prob, model.prior.log_density

        def noisy(x, parameters):
            return log_prob(x, parameters + noise.normal(*parameters.shape[:2], 9).view_as(parameters))

        model.likelihood.log_prob = noisy
        model.prior.log_density = lambda z: log_density(z) + noise.uniform(*z.shape[:2])
        return model

    whole = log_likelihood(drawing(), images(), 101)
    assert not torch.allclose(whole.estimate, log_likelihood(small_model(), images(), 101).estimate)
    monkeypatch.setattr("vaezoo.evaluation.blocks.PIECE", -(-at_once * 9 * 23 // torch.get_num_threads()))
    monkeypatch.setattr("vaezoo.evaluation.blocks.CPU_BLOCK", 9 * 23 * 30)
    assert_same(whole, log_likelihood(drawing(), images(), 101))


@pytest.mark.parametrize("block", [1, 5, 22])
def test_the_block_of_images_changes_nothing(monkeypatch, block):
    model = small_model()
    whole = log_likelihood(model, images(), 60)
    monkeypatch.setattr("vaezoo.evaluation.blocks.IMAGES_A_BLOCK", block)
    assert_same(whole, log_likelihood(model, images(), 60))


def test_the_order_of_images_changes_nothing():
    model, x = small_model(), images()
    whole = log_likelihood(model, x, 60, seed=3)
    order = torch.randperm(23, generator=torch.Generator().manual_seed(1))
    assert_same(whole, log_likelihood(model, x[order], 60, seed=3, index=order), rows=order)
    part = torch.tensor([4, 17])
    assert_same(whole, log_likelihood(model, x[part], 60, seed=3, index=part), rows=part)
    assert not torch.allclose(whole.estimate[part], log_likelihood(model, x[part], 60, seed=3).estimate)


def test_a_seed_repeats_and_another_differs():
    model = small_model()
    first = log_likelihood(model, images(), 20, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first.estimate, log_likelihood(model, images(), 20, seed=1).estimate)
    assert not torch.equal(first.estimate, log_likelihood(model, images(), 20, seed=2).estimate)


@pytest.mark.parametrize("samples", [1, 2, 7, 101, 1009])
def test_exactly_so_many_samples_are_drawn(monkeypatch, samples):
    monkeypatch.setattr("vaezoo.evaluation.blocks.CPU_BLOCK", 9 * 10 * 16)
    monkeypatch.setattr("vaezoo.evaluation.blocks.IMAGES_A_BLOCK", 10)
    monkeypatch.setattr("vaezoo.evaluation.blocks.MOST_TIMES", 1)
    model = small_model()
    decoded = []
    model.decoder.register_forward_hook(lambda module, own, out: decoded.append(len(out)))
    blocks = spied(model)
    found = log_likelihood(model, images(20), samples)
    assert sum(len(block) for block in blocks) == 2 * samples
    assert sum(decoded) == 20 * samples
    assert found.importance_samples == samples
    every = torch.cat(blocks[: len(blocks) // 2])
    assert len(every.unique(dim=0)) == samples  # no sample twice


def test_the_encoder_runs_once_an_image(monkeypatch):
    monkeypatch.setattr("vaezoo.evaluation.blocks.CPU_BLOCK", 100)
    monkeypatch.setattr("vaezoo.evaluation.blocks.IMAGES_A_BLOCK", 10)
    model = small_model()
    seen = []
    model.encoder.register_forward_hook(lambda module, own, out: seen.append(len(out)))
    log_likelihood(model, images(), 50)
    assert seen == [10, 10, 3]
    log_likelihood(model, images(), 16)  # few samples, so more images at once
    assert seen[3:] == [20, 3]


@pytest.mark.parametrize("shift", [0.0, -1e5, 1e3])
@pytest.mark.parametrize("variant", ["vae", "vae-mixture"])
def test_it_agrees_with_a_naive_sum_in_extended_precision(monkeypatch, shift, variant):
    monkeypatch.setattr("vaezoo.evaluation.blocks.CPU_BLOCK", 9 * 23 * 11)
    model = shifted(small_model(variant), shift)
    with torch.no_grad():
        model.decoder.net[1].weight.mul_(20)  # weights that spread
    blocks = spied(model)
    found = log_likelihood(model, images(), 64)
    log_weight = torch.cat(blocks).double().numpy().astype(np.longdouble)
    assert log_weight.shape == (64, 23)
    weight = np.exp(log_weight - np.longdouble(shift))
    total = weight.sum(0)
    mean = total / 64
    expected = {
        "estimate": shift + np.log(mean),
        "elbo": log_weight.mean(0),
        "effective_samples": total**2 / (weight**2).sum(0),
        "standard_error": weight.std(0, ddof=1) / np.sqrt(64) / mean,
    }
    for name, value in expected.items():
        torch.testing.assert_close(
            getattr(found, name), torch.from_numpy(value.astype(np.float64)), rtol=1e-9, atol=1e-7, msg=name
        )
        assert getattr(found, name).isfinite().all()
    assert ((found.effective_samples >= 1 - 1e-9) & (found.effective_samples <= 64 + 1e-9)).all()


def test_weights_that_rise_and_fall_over_thousands_of_nats(monkeypatch):
    """A running maximum that moves by thousands between blocks, both ways."""
    monkeypatch.setattr("vaezoo.evaluation.blocks.CPU_BLOCK", 1)
    model = small_model()
    steps = iter([-2e4, 3e3, -1e5, 3e3 + 5, 0.0])
    original = model.likelihood.log_prob
    model.likelihood.log_prob = lambda x, parameters: original(x, parameters) + next(steps)
    blocks = spied(model)
    found = log_likelihood(model, images(4), 5)
    exact = torch.cat(blocks).double().logsumexp(0) - math.log(5)
    torch.testing.assert_close(found.estimate, exact, rtol=1e-12, atol=0)


def test_a_sample_of_no_weight_counts_as_0():
    model = small_model()
    original = model.likelihood.log_prob

    def log_prob(x, parameters):
        value = original(x, parameters)
        return torch.where(torch.arange(len(value))[:, None] % 2 == 0, value, -math.inf)

    blocks = spied(model)
    model.likelihood.log_prob = log_prob
    found = log_likelihood(model, images(), 10)
    exact = torch.cat(blocks).double().logsumexp(0) - math.log(10)
    torch.testing.assert_close(found.estimate, exact, rtol=1e-12, atol=0)
    assert (found.effective_samples <= 5 + 1e-9).all()
    assert (found.elbo == -math.inf).all()


@pytest.mark.parametrize("variant", ["vae", "vae-mixture", "vae-vampprior"])
def test_elbo_and_kl_make_the_reconstruction(variant):
    prior = ("vampprior", {"components": 5}) if variant == "vae-vampprior" else {}
    model = small_model(variant, **({"prior": prior} if prior else {}))
    found = log_likelihood(model, images(), 40)
    torch.testing.assert_close(found.elbo + found.kl, found.reconstruction)
    assert (found.estimate >= found.elbo).all()


def test_the_kl_is_the_closed_form_in_the_mean():
    model = small_model(dtype=torch.float64)
    x = images(5)
    found = log_likelihood(model, x, 40000)
    with torch.no_grad():
        batch = model.batch(x)
        draws = model.draw(batch, 1000)
        closed = draws.kl[0].sum(1)
        spread = (draws.log_posterior - draws.log_prior).sum(0).std(0) / 200
    assert ((found.kl - closed).abs() < 4 * spread).all()


def test_one_sample_gives_the_elbo_and_no_error():
    found = log_likelihood(small_model(), images(), 1)
    torch.testing.assert_close(found.estimate, found.elbo, rtol=1e-12, atol=1e-12)
    assert found.standard_error.isnan().all()
    torch.testing.assert_close(found.effective_samples, torch.ones(23, dtype=torch.float64))


def test_results_are_float64_on_the_cpu():
    found = log_likelihood(small_model(), images(), 3)
    assert all(getattr(found, name).dtype == torch.float64 and getattr(found, name).shape == (23,) for name in FIELDS)


def test_the_standard_error_is_the_spread_over_draws():
    """20 images, each 200 times with noise of its own. The delta method's: the ratio's mean and each image's own within
    4 standard errors of an empirical spread. With the fitted tail, which knows of no bound, at most a fifth more.
    """
    model = small_model(dtype=torch.float64, latent=2)
    found = log_likelihood(model, images(20).repeat(200, 1, 1, 1), 400)
    delta = ((1 / found.effective_samples - 1 / 400) * 400 / 399).sqrt().view(200, 20)
    spread, stated = found.estimate.view(200, 20).std(0), found.standard_error.view(200, 20)
    ratio = delta.mean(0) / spread
    assert abs(float(ratio.mean()) - 1) < 0.05 + 4 / math.sqrt(2 * 200 * 20)
    assert ((ratio - 1).abs() < 4.5 / math.sqrt(2 * 200)).all()
    assert (stated > delta * (1 - 1e-9)).all()
    assert 1.05 < float((stated.mean(0) / spread).mean()) < 1.2


def test_double_and_single_precision_agree():
    single, double = (
        log_likelihood(small_model(dtype=dtype), images(), 50) for dtype in (torch.float32, torch.float64)
    )
    assert_same(single, double, 1e-3)


def test_the_model_is_left_as_it_was():
    model = small_model()
    model.train()
    log_likelihood(model, images(), 2)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    model.eval()
    log_likelihood(model, images(), 2)
    assert not model.training
    model.train()
    with evaluating(model):
        assert not model.training
        assert not torch.is_grad_enabled()
    assert model.training
    assert torch.is_grad_enabled()


def test_the_model_is_left_as_it_was_when_a_part_raises():
    model = small_model()
    model.likelihood.log_prob = lambda x, parameters: 1 / 0
    with pytest.raises(ZeroDivisionError):
        log_likelihood(model, images(), 2)
    assert model.training
    assert torch.is_grad_enabled()


def test_images_as_stored_and_as_floats_are_the_same():
    model = small_model()
    assert_same(log_likelihood(model, images(), 5), log_likelihood(model, images().to(torch.uint8), 5), 0)


def test_levels_as_stored_are_their_floats():
    x = torch.randint(17, (9, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model = build("vae", vaezoo.Dataset(x, x, x, measure="discrete", levels=17), latent=2, hidden=(8,))
    assert_same(log_likelihood(model, x, 5), log_likelihood(model, x / 16, 5), 1e-6)
