"""Kuzushiji-MNIST: handwritten Japanese characters of 28 x 28, gray."""

from pathlib import Path

from vaezoo.core.data import Dataset
from vaezoo.datasets._classes import held_out, with_classes
from vaezoo.datasets._downloads import torchvision_set
from vaezoo.datasets._labels import Context
from vaezoo.registry import register


@register.dataset("kmnist", paper="Clanuwat et al. (2018), arXiv:1812.01718")
def kmnist(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """Ten Japanese characters of 256 gray levels (discrete), shape (1, 28, 28); 50k / 10k / 10k with labels.

    Validation is the last 10,000 images of the training file. context: "labels" gives conditional models the class of
    each image, one-hot. Raises VaezooError when the files can be neither read nor downloaded.
    """
    train, test = (torchvision_set(root, "KMNIST", train=each) for each in (True, False))
    splits = *held_out(train.data.unsqueeze(1), train.targets, 10_000), (test.data.unsqueeze(1), test.targets)
    return Dataset(*with_classes(splits, 10, context), measure="discrete", levels=256)
