"""Which validation images choose the epoch, after which epochs, and with how many samples."""

import math
from dataclasses import dataclass

from vaezoo.training.options import TrainingOptions

STATED_SAMPLES, AUTO_SAMPLES = 64, 8
"""K of the validation iwll, the same for every variant: where the options state the images, and for "auto". (Choosing
the epoch by ELBO would cost an importance-weighted model nats.)
"""
SHARE = 0.1
"""The share of the time of training that "auto" takes at most."""
PASSES = 3.0
"""What an image of a training step costs at least, in passes forward: one forward, and about two backward."""
FEWEST, ENOUGH = 16, 1000
"""Images that "auto" takes at least; images from which on it takes more epochs rather than more images. (Few images
choose an epoch that suits them alone; `benchmarks/validation_cost.py` measures what a rule costs.)
"""
SOME_EPOCHS = 16
"""Epochs up to which "auto" takes more of them rather than more images."""


@dataclass(frozen=True)
class Validation:
    """After each of these epochs, the mean iwll of the first `images` validation images with K = `samples`."""

    images: int
    samples: int
    epochs: frozenset[int]


def validation_of(options: TrainingOptions, train_images: int, valid_images: int, annealed: float) -> Validation:
    """What the options ask for. annealed: the epochs before which none is chosen.

    With a stated number of images, or None for all: after each epoch, with K = 64. With "auto", n epochs of the E - A
    that may be chosen, evenly spaced and with the last one, B images and K = 8, such that n B K passes forward are at
    most a tenth of those that E epochs of N training images cost:

        n B K <= 0.1 * 3 E N,  n >= 16 where that leaves 16 images, then B >= 1,000 where there are so many

    It depends on the data set and the number of epochs alone, so it is the same for every variant whose weights settle
    at the same epoch.
    """
    epochs = options.epochs
    if options.validation_images != "auto":
        return Validation(min(options.validation_images or valid_images, valid_images), STATED_SAMPLES, _all(epochs))
    affordable = SHARE * PASSES * epochs * train_images / AUTO_SAMPLES
    first = min(math.floor(annealed), epochs - 1)
    wanted = max(affordable / min(ENOUGH, valid_images), min(SOME_EPOCHS, affordable / FEWEST))
    count = max(1, min(int(wanted), epochs - first))
    images = min(valid_images, max(FEWEST, int(affordable / count)))
    places = (first + math.ceil((epochs - first) * (number + 1) / count) for number in range(count))
    return Validation(images, AUTO_SAMPLES, frozenset(places))


def _all(epochs: int) -> frozenset[int]:
    return frozenset(range(1, epochs + 1))
