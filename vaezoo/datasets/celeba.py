"""CelebA: faces of celebrities, made 64 x 64 in colour."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaezoo.core.data import Dataset
from vaezoo.datasets._downloads import torchvision_set
from vaezoo.datasets._own.pictures import Fit, Pictures, decoded
from vaezoo.registry import register

CROP = 148
"""The side of the middle square that is kept of 178 x 218."""


@register.dataset("celeba", paper="Liu et al. (2015), arXiv:1411.7766; cropped as in arXiv:1512.09300")
def celeba(root: Path, seed: int, *, size: int = 64) -> Dataset:
    """Faces of 256 levels a colour (discrete), shape (3, size, size); the published split 162,770 / 19,867 / 19,962.

    The middle 148 x 148 of each aligned picture, averaged over boxes. y [N, 40]: the attributes, 0 or 1. The images
    take 2 GB at size 64, mapped from a temporary file. Raises VaezooError when the files can be neither read nor
    downloaded.
    """
    splits = (torchvision_set(root, "CelebA", split=each) for each in ("train", "valid", "test"))
    train, valid, test = (_pair(faces, size) for faces in splits)
    return Dataset(train, valid, test, measure="discrete", levels=256)


def _pair(faces: Any, size: int) -> tuple[Tensor, Tensor]:
    folder = Path(faces.root) / faces.base_folder / "img_align_celeba"
    fit = Fit(size, size, 3, "stretch", True, True, "", crop=CROP)
    x = decoded(Pictures([folder / name for name in faces.filename], folder, fit))
    return torch.from_numpy(x), faces.attr
