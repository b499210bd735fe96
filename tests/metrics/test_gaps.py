"""The amortisation and generalisation gaps equal closed forms on the linear Gaussian model."""

import math

import pytest
import torch
from linear_model import linear_model
from measuring import evaluation, metric

import vaezoo
from vaezoo.builder import build
from vaezoo.evaluation.estimate import log_likelihood


def test_an_exact_posterior_has_no_amortisation_gap():
    known = linear_model(3, images=20)
    found = metric("amortisation-gap", known.model, known.dataset, steps=50)
    assert abs(found["amortisation_gap"]) < 1e-9
    single = linear_model(3, images=20)
    model = single.model.float()
    dataset = vaezoo.Dataset(*[single.x.float()] * 3, measure="continuous")
    assert abs(metric("amortisation-gap", model, dataset, steps=100)["amortisation_gap"]) < 1e-3


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.7), (2.0, 0.0), (0.7, -0.5)])
def test_the_amortisation_gap_of_a_perturbed_posterior_is_its_divergence(scale, shift):
    known = linear_model(3, images=40, scale=scale, shift=shift)
    estimate = log_likelihood(known.model, known.x, 4000)
    context = evaluation(known.dataset, iwll=estimate.estimate)
    found = metric("amortisation-gap", known.model, known.dataset, context, elbo_samples=1000)
    assert known.divergence > 0.3
    assert found["amortisation_gap"] == pytest.approx(known.divergence, abs=4 * 1.5 * math.sqrt(3 / (1000 * 40)) + 1e-3)
    assert found["approximation_gap"] == pytest.approx(0, abs=0.02)
    assert context.per_image["amortisation_gap"].shape == (40,)
    highest = estimate.elbo + context.per_image["amortisation_gap"]
    torch.testing.assert_close(highest, known.log_p(known.x), rtol=0, atol=0.3)


def test_the_approximation_gap_needs_iwll():
    known = linear_model(2)
    context = evaluation(known.dataset)
    assert metric("amortisation-gap", known.model, known.dataset, context, steps=2)["approximation_gap"] is None
    assert "iwll" in context.notes["approximation_gap"]


@pytest.mark.parametrize("measured", [True, False])
def test_there_is_no_generalisation_gap_between_like_splits(measured):
    known = linear_model(2, images=500, scale=1.5)
    context = evaluation(known.dataset)
    if measured:
        metric("likelihood", known.model, known.dataset, context)
    found = metric("generalisation-gap", known.model, known.dataset, context)
    for name in ("iwll", "elbo"):
        gap, error = (found[f"generalisation_gap_{name}{end}"] for end in ("", "_standard_error"))
        assert 0.05 < error < 0.2
        assert abs(gap) < 4 * error
    truth = float(known.log_p(known.dataset.train.x).mean() - known.log_p(known.x).mean())
    assert found["generalisation_gap_iwll"] == pytest.approx(truth, abs=0.02)


def test_the_generalisation_gap_compares_equally_many_images():
    known = linear_model(2, images=60)
    x = known.dataset.train.x
    dataset = vaezoo.Dataset(x, x, x, measure="continuous")
    found = metric("generalisation-gap", known.model, dataset, count=40)
    assert found["generalisation_gap_iwll"] == pytest.approx(0, abs=1e-9)  # the same images, with an exact posterior
    easy = vaezoo.Dataset(known.mean.expand(10, -1), x, x, measure="continuous")
    found = metric("generalisation-gap", known.model, easy)
    truth = known.log_p(known.mean[None]) - known.log_p(x[:10]).mean()
    assert found["generalisation_gap_elbo"] == pytest.approx(float(truth))
    assert float(truth) > 0


def test_dynamic_training_images_are_binarised_for_the_gap():
    x = torch.full((30, 4), 128, dtype=torch.uint8)
    held_out = (torch.rand(30, 4, generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.uint8)
    dataset = vaezoo.Dataset(x, held_out, held_out, measure="binary", binarisation="dynamic")
    model = build("vae", dataset, latent=2, hidden=(4,))
    found = metric("generalisation-gap", model, dataset)
    assert abs(found["generalisation_gap_elbo"]) < 1
