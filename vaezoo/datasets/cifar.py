"""CIFAR-10 and CIFAR-100: photographs of 32 x 32 in colour."""

from pathlib import Path

import numpy as np
import torch

from vaezoo.core.data import Dataset
from vaezoo.datasets._classes import held_out, with_classes
from vaezoo.datasets._downloads import torchvision_set
from vaezoo.datasets._labels import Context
from vaezoo.registry import register

PAPER = "Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images"
VALIDATION = 5000


def _dataset(root: Path, reader: str, classes: int, context: Context) -> Dataset:
    train, test = (torchvision_set(root, reader, train=each) for each in (True, False))

    def pair(split: object) -> tuple[torch.Tensor, torch.Tensor]:
        """Images uint8 [N, 3, 32, 32] and labels."""
        data, targets = split.data, split.targets  # type: ignore[attr-defined]
        return torch.from_numpy(np.ascontiguousarray(data.transpose(0, 3, 1, 2))), torch.tensor(targets)

    splits = *held_out(*pair(train), VALIDATION), pair(test)
    return Dataset(*with_classes(splits, classes, context), measure="discrete", levels=256)


@register.dataset("cifar-10", paper=PAPER)
def cifar_10(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """Photographs of 10 kinds, 256 levels a colour (discrete), shape (3, 32, 32); 45k / 5k / 10k with labels.

    Validation is the last 5,000 images of the training files. context: "labels" gives conditional models the class of
    each image, one-hot. Raises VaezooError when the files can be neither read nor downloaded.
    """
    return _dataset(root, "CIFAR10", 10, context)


@register.dataset("cifar-100", paper=PAPER)
def cifar_100(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """Photographs of 100 kinds, 256 levels a colour (discrete), shape (3, 32, 32); 45k / 5k / 10k with labels.

    As `cifar-10`.
    """
    return _dataset(root, "CIFAR100", 100, context)
