"""The choice of the epoch: how many images, how many samples, after which epochs."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from small_models import dataset, pair

from vaezoo.training.loop import train
from vaezoo.training.options import TrainingOptions
from vaezoo.training.validation import AUTO_SAMPLES, PASSES, SHARE, validation_of


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 30, 100, 255, 5000])
@pytest.mark.parametrize(("images", "valid"), [(60, 20), (1078, 180), (4100, 2264), (50_000, 10_000), (10**7, 50_000)])
@pytest.mark.parametrize("annealed", [0.0, 0.5, 5.0, 6000.0])
def test_auto_takes_at_most_its_share_and_ends_with_the_last_epoch(epochs, images, valid, annealed):
    found = validation_of(TrainingOptions(epochs=epochs), images, valid, annealed)
    passes = found.images * found.samples * len(found.epochs)
    least = 16 * AUTO_SAMPLES
    assert passes <= max(SHARE * PASSES * epochs * images, least)
    assert found.samples == AUTO_SAMPLES
    assert 1 <= found.images <= valid
    assert max(found.epochs) == epochs
    assert min(found.epochs) > min(math.floor(annealed), epochs - 1)
    places = sorted(found.epochs)
    gaps = {later - earlier for earlier, later in pairwise(places)}
    assert not gaps or max(gaps) - min(gaps) <= 1  # evenly spaced


def test_some_epochs_come_first_then_images_then_more_epochs():
    def of(images):
        found = validation_of(TrainingOptions(epochs=100), images, 10_000, 0)
        return len(found.epochs), found.images

    assert of(50) == (11, 17)
    assert of(1_000) == (16, 234)
    assert of(10_000) == (37, 1013)
    assert of(100_000) == (100, 3750)


def test_a_stated_number_of_images_is_taken_after_each_epoch():
    options = TrainingOptions(epochs=9, validation_images=500)
    for stated, images in ((500, 500), (5000, 2264), (None, 2264)):
        found = validation_of(replace(options, validation_images=stated), 4100, 2264, 3.0)
        assert (found.images, found.samples, found.epochs) == (images, 64, frozenset(range(1, 10)))


def test_epochs_without_validation_have_none_and_are_not_chosen():
    data = dataset()
    model, objective = pair(data)
    outcome = train(model, objective, data, TrainingOptions(epochs=40, batch_size=20))
    expected = validation_of(TrainingOptions(epochs=40), len(data.train), len(data.valid), 0)
    validated = {each.epoch for each in outcome.history if each.validation_iwll is not None}
    assert validated == expected.epochs
    assert 1 < len(validated) < 40
    assert outcome.best_epoch in validated
    assert outcome.validation == {"images": expected.images, "samples": AUTO_SAMPLES}
    assert outcome.validation_seconds > 0
