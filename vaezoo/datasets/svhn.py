"""Street View House Numbers: digits from photographs of 32 x 32 in colour."""

from pathlib import Path

import torch

from vaezoo.core.data import Dataset
from vaezoo.datasets._classes import held_out, with_classes
from vaezoo.datasets._downloads import torchvision_set
from vaezoo.datasets._labels import Context, Pair
from vaezoo.registry import register

VALIDATION = 7257


@register.dataset("svhn", paper="Netzer et al. (2011), Reading Digits in Natural Images")
def svhn(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """Digits of house numbers, 256 levels a colour (discrete), shape (3, 32, 32); 66,000 / 7,257 / 26,032 with labels.

    Validation is the last 7,257 training images; the extra images are not used. context: "labels" gives conditional
    models the digit of each image, one-hot. Raises VaezooError when the files can be neither read nor downloaded.
    """

    def pair(split: str) -> Pair:
        """Images uint8 [N, 3, 32, 32] and labels."""
        found = torchvision_set(root, "SVHN", split=split)
        return torch.from_numpy(found.data.copy()), torch.from_numpy(found.labels)

    splits = *held_out(*pair("train"), VALIDATION), pair("test")
    return Dataset(*with_classes(splits, 10, context), measure="discrete", levels=256)
