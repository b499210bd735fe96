"""Which draws are legal where: by sample and image, or by step."""

import pytest
import torch
from drawing import IMAGES, KINDS, call, drawn

import vaezoo
from vaezoo import Objective, VaezooError, noise
from vaezoo.builder import build
from vaezoo.training.module import TrainingModule


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (7, 3), (3, 1, 7), (3, 8, 7)])
def test_a_shape_without_the_images_is_refused(kind, shape):
    """Both ways out are named. Images may come third, or be too few: nothing is guessed."""
    own = {"gamma": "concentration", "categorical": "logits", "poisson": "rate"}
    ways = (
        (rf"noise\.{kind}\({own[kind]} \[K, B=7, \.\.\.\]\)", rf"noise\.step\.{kind}\({own[kind]}\)")
        if kind in own
        else (rf"noise\.{kind}\(K, B=7, \.\.\.\)", rf"noise\.step\.{kind}\(\*shape\)")
    )
    got = ", ".join(map(str, shape))
    match = (
        rf"^noise\.{kind} got the shape \[{got}\] in a stream with 7 images: ask for {ways[0]}, keyed by sample and "
        rf"image, or for {ways[1]}, keyed by step and position, which is legal only in an objective that declares "
        r"batch_coupled = True and in Prior\.sample$"
    )
    with noise.stream(0, index=IMAGES):
        with pytest.raises(VaezooError, match=match):
            call(noise, kind, *shape)
        with noise.without_images():
            assert call(noise, kind, *shape).shape == shape
    with noise.stream(0):
        assert call(noise, kind, *shape).shape == shape


def test_binarising_other_images_than_the_streams_is_refused():
    levels = torch.zeros(5, 2, 2, dtype=torch.uint8)
    with (
        noise.stream(0, index=IMAGES),
        pytest.raises(VaezooError, match="levels of 5 images in a stream with 7 images"),
    ):
        noise.bernoulli(levels)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_by_step_are_legal_in_coupled_objectives_and_without_images(kind):
    match = (
        rf"^noise\.step\.{kind} is keyed by step and position, which is legal only in an objective that declares "
        rf"batch_coupled = True and in Prior\.sample; elsewhere noise\.{kind} is keyed by sample and image$"
    )
    with noise.stream(0, index=IMAGES):
        with pytest.raises(VaezooError, match=match):
            call(noise.step, kind, 3, 7, 2)
        with noise.coupled(True):
            assert call(noise.step, kind, 3, 5).shape == (3, 5)
            with noise.coupled(False), pytest.raises(VaezooError, match=match):
                call(noise.step, kind, 3, 5)
            with pytest.raises(VaezooError, match=r"got the shape \[3, 5\]"):  # not what comes after it
                call(noise, kind, 3, 5)
        with noise.without_images():
            assert call(noise.step, kind, 3, 5).shape == (3, 5)
        with pytest.raises(VaezooError, match=match):
            call(noise.step, kind, 3, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_by_step_depend_on_key_and_call_alone(kind):
    def numbers(key, index, before=1, first=0):
        with noise.stream(key, index=index, first=first, dtype=torch.float64), noise.coupled(True):
            for _ in range(before):
                noise.uniform(2, len(index))
            by_step = call(noise.step, kind, 7, 7, 11)
            with noise.without_images():
                return by_step, call(noise, kind, 7, 7, 11), call(noise.step, kind, 7, 7, 11)

    found = numbers(3, IMAGES)
    for index, first in ((IMAGES.flip(0), 0), (IMAGES[:4], 0), (IMAGES, 5)):
        for expected, again in zip(found, numbers(3, index, first=first), strict=True):
            assert torch.equal(again, expected)
    others = [*found[1:], *numbers(4, IMAGES), *numbers(3, IMAGES, 2), drawn(kind, 7, 7, 11, key=3, index=IMAGES)]
    assert not any(torch.equal(found[0], other) for other in others)


def test_a_sub_stream_counts_as_one_call():
    def after(draws):
        with noise.stream(1, index=IMAGES):
            with noise.without_images():
                for _ in range(draws):
                    noise.normal(4)
            return noise.normal(1, 7)

    assert torch.equal(after(0), after(5))


def test_no_word_of_a_sub_stream_is_drawn_twice():
    """Words by image, by step and of two sub-streams: of 80,000 chance repeats none."""
    found = []
    with noise.stream(2, index=torch.arange(20)) as stream:
        for _ in range(2):
            found += [stream.bits((50, 20, 10), 1, True), stream.bits((10_000,), 1, False)]
            with noise.without_images():
                inner = noise.source().stream
                found += [inner.bits((10_000,), 1, False) for _ in range(2)]
    words = torch.cat([each.flatten() for each in found])
    assert len(words) == len(words.unique()) == 80_000


def test_a_prior_is_sampled_within_the_stream_of_a_batch():
    """Any number of points, the same whichever images the batch has, others at each call and with another key."""
    x = torch.ones(4, 1, 3, 3)
    dataset = vaezoo.Dataset(x, x, x, measure="binary")
    for prior in ("normal", ("mixture", {"components": 3}), ("vampprior", {"components": 2})):
        model = build(vaezoo.Variant("own", prior=prior), dataset, latent=2, hidden=(4,))

        def points(key, index, model=model):
            with torch.no_grad(), noise.stream(key, index=index):
                model.draw(model.batch(x[: len(index)], index=index), 3)
                return model.prior_sample(5)[0], model.prior_sample(5)[0], model.sample(5)

        first, second, images = points(0, torch.arange(4))
        assert torch.equal(points(0, torch.tensor([8, 3]))[0], first)
        assert not torch.equal(first, second)
        assert not torch.equal(points(1, torch.arange(4))[0], first)
        assert images.shape == (5, 1, 3, 3)


class Projected(Objective):
    """Numbers by step, one more than there are images."""

    def forward(self, draws):
        return draws.log_weight.mean(0) * noise.step.uniform(len(draws.batch.x) + 1).mean()


class ProjectedAndCoupled(Projected):
    """Says so."""

    batch_coupled = True


def test_only_a_batch_coupled_objective_draws_by_step():
    x = torch.ones(4, 1, 3, 3)
    model = build("vae", vaezoo.Dataset(x, x, x, measure="binary"), latent=2, hidden=(4,))
    with noise.stream(0, index=torch.arange(4)):
        draws = model.draw(model.batch(x), 1)
        assert ProjectedAndCoupled()(draws).shape == (4,)
        with pytest.raises(VaezooError, match="only in an objective that declares batch_coupled = True"):
            Projected()(draws)
    key = torch.tensor(5)
    for dynamic in (False, True):
        module = TrainingModule(model, ProjectedAndCoupled(), dynamic)
        stored = (255 * x).to(torch.uint8) if dynamic else x
        value = module(stored, torch.arange(4), key, torch.ones(()))[0]["all"]
        assert torch.equal(value, module(stored, torch.arange(4), key, torch.ones(()))[0]["all"])
