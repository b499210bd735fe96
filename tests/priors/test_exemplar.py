"""The exemplar prior: an image's own exemplar is left out in training, and all of them count in evaluation."""

import math

import pytest
import torch

import vaezoo
from vaezoo import Skip, VaezooError, Variant, noise
from vaezoo.builder import build
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.objectives.elbo import ELBO
from vaezoo.training.loop import epoch_order, make_step
from vaezoo.training.options import TrainingOptions

EXEMPLARS = 12


@pytest.fixture
def model():
    """In float64, its log_std off its start; the exemplars are 12 of 30 training images."""
    x = torch.rand(30, 1, 2, 3, generator=torch.Generator().manual_seed(0)).round()
    data = vaezoo.Dataset(x, x, x, measure="binary")
    variant = Variant("t", prior=("exemplar", {"exemplars": EXEMPLARS}))
    made = build(variant, data, latent=2, hidden=(6,)).double()
    with torch.no_grad():
        made.prior.log_std.fill_(-0.4)
    made.x = x
    return made


def density(model, z, index=None):
    """log p(z) [K, B] in training of the images with this index, else in evaluation."""
    count = z.shape[1]
    x = torch.zeros(count, 1, 2, 3)
    progress = None if index is None else torch.tensor(0.5)
    with torch.no_grad():
        return model.log_prior(model.batch(x, index=index, progress=progress), (z,))[0]


def mixture(model, z, chosen):
    """log of the mean of N(z; mean(x_n), std^2 I) over the chosen exemplars, written out. [K]"""
    with torch.no_grad():
        mean = model.encode(model.prior.images[chosen]).mean
        each = DiagonalGaussian(mean, model.prior.log_std.expand_as(mean)).log_density(z[:, None])
    return each.logsumexp(-1) - math.log(len(chosen))


def points(count, images):
    return torch.randn(count, images, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_in_evaluation_all_exemplars_count_also_for_a_training_image(model):
    z = points(5, 30)
    found = density(model, z)
    for image in range(30):
        torch.testing.assert_close(found[:, image], mixture(model, z[:, image], range(EXEMPLARS)))


def test_in_training_an_images_own_exemplar_is_left_out_and_no_other(model):
    z = points(5, 30)
    found = density(model, z, index=torch.arange(30))
    numbers = model.prior.numbers.tolist()
    assert len(set(numbers)) == EXEMPLARS
    for image in range(30):
        others = [place for place, number in enumerate(numbers) if number != image]
        assert len(others) == EXEMPLARS - (image in numbers)
        torch.testing.assert_close(found[:, image], mixture(model, z[:, image], others))


def test_what_an_images_own_exemplar_shows_changes_nothing_in_training(model):
    own = int(model.prior.numbers[3])
    z, index = points(4, 2), torch.tensor([own, own])
    before, everywhere = density(model, z, index), density(model, z)
    model.prior.images[3] = 1 - model.prior.images[3]
    torch.testing.assert_close(density(model, z, index), before, rtol=0, atol=1e-12)
    assert bool(((density(model, z) - everywhere).abs() > 1e-3).all())


def test_the_exemplars_are_the_training_images_of_their_numbers(model):
    assert torch.equal(model.prior.images, model.x[model.prior.numbers].double())


def test_it_integrates_to_1_in_evaluation_and_in_training(model):
    side = torch.linspace(-9, 9, 300, dtype=torch.float64)
    z = torch.cartesian_prod(side, side)[:, None]
    for index in (None, model.prior.numbers[:1]):
        total = density(model, z, index).exp().sum() * (side[1] - side[0]) ** 2
        assert float(total) == pytest.approx(1, abs=1e-6)


def test_samples_have_the_mixtures_mean_and_variance(model):
    with noise.stream(0, dtype=torch.float64):
        z = model.prior_sample(40_000)[0]
    with torch.no_grad():
        means = model.encode(model.prior.images).mean
    std = (means.var(0, correction=0) + math.exp(-0.8)).sqrt()
    assert ((z.mean(0) - means.mean(0)).abs() < 5 * std / 200).all()
    torch.testing.assert_close(z.std(0), std.detach(), rtol=0.03, atol=0)


def test_a_training_step_serves_the_index_of_each_image_and_the_estimator_none():
    data = vaezoo.load_dataset("digits-binary")
    slots = {"prior": ("exemplar", {"exemplars": 100})}
    model = build("exemplar-vae", data, latent=4, hidden=(16,), overrides=slots)
    seen = []
    original = type(model.prior).log_density

    def watched(self, z, encode, index):
        seen.append(index)
        return original(self, z, encode, index)

    model.prior.log_density = watched.__get__(model.prior)
    step = make_step(model, ELBO(), data, TrainingOptions(batch_size=100), 0, eager=True)
    order = epoch_order(len(data.train), 100, 0, 1)
    step.start_epoch(order)
    step()
    assert [index.tolist() for index in seen] == [order[0].tolist()]
    seen.clear()
    vaezoo.log_likelihood(model, data.train.x[:50], 4)
    assert seen
    assert all(bool((index == -1).all()) for index in seen)


def test_fewer_than_two_exemplars_and_another_posterior_are_refused(own_registry):
    x = torch.zeros(5, 1, 2, 3)
    data = vaezoo.Dataset(x, x, x, measure="binary")
    with pytest.raises(VaezooError, match="exemplars must be 2 or more"):
        build(Variant("t", prior=("exemplar", {"exemplars": 1})), data)
    model = build(Variant("t", posterior="realnvp", prior="exemplar"), data, latent=2)
    with pytest.raises(Skip, match="needs a Gaussian posterior"):
        model.prior_sample(2)
