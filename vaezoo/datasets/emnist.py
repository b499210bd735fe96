"""EMNIST: handwritten letters and digits of 28 x 28, gray."""

from pathlib import Path
from typing import Literal

from torch import Tensor

from vaezoo.core.data import Dataset
from vaezoo.datasets._classes import held_out, with_classes
from vaezoo.datasets._downloads import torchvision_set
from vaezoo.datasets._labels import Context
from vaezoo.registry import register

VALIDATION = {"balanced": 18_800, "letters": 20_800, "digits": 40_000, "mnist": 10_000}
VALIDATION |= dict.fromkeys(("byclass", "bymerge"), 116_323)
"""As many images as test has."""


@register.dataset("emnist", paper="Cohen et al. (2017), arXiv:1702.05373")
def emnist(
    root: Path,
    seed: int,
    *,
    split: Literal["balanced", "letters", "digits", "mnist", "byclass", "bymerge"] = "balanced",
    context: Context = None,
) -> Dataset:
    """Letters and digits of 256 gray levels (discrete), shape (1, 28, 28), upright; `balanced`: 94k / 18.8k / 18.8k.

    split: EMNIST's own; validation is as many of the last training images as test has. The file has images column by
    column. context: "labels" gives conditional models the class of each image, one-hot. Raises VaezooError when the
    files can be neither read nor downloaded.
    """
    train, test = (torchvision_set(root, "EMNIST", split=split, train=each) for each in (True, False))

    def images(data: Tensor) -> Tensor:
        """Upright, uint8 [N, 1, 28, 28]."""
        return data.transpose(1, 2).unsqueeze(1).contiguous()

    first = int(train.targets.min())  # letters are numbered from 1
    splits = (
        *held_out(images(train.data), train.targets - first, VALIDATION[split]),
        (images(test.data), test.targets - first),
    )
    classes = int(train.targets.max()) - first + 1
    return Dataset(*with_classes(splits, classes, context), measure="discrete", levels=256)
