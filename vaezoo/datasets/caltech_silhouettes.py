"""Caltech-101 Silhouettes: the outlines of objects, filled, 28 x 28, binary."""

from pathlib import Path

import torch

from vaezoo.core.data import Dataset
from vaezoo.datasets._classes import with_classes
from vaezoo.datasets._downloads import original_files
from vaezoo.datasets._labels import Context, Pair
from vaezoo.registry import register

CLASSES = 101


@register.dataset("caltech-silhouettes", paper="Marlin et al. (2010), Inductive Principles for RBM Learning, AISTATS")
def caltech_silhouettes(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """Binary silhouettes of 101 kinds of objects, shape (1, 28, 28); the published split 4,100 / 2,264 / 2,307.

    As in papers on VAEs, x is 1 minus the file's pixel (the object is 1, its surroundings are 0), and images stand
    upright (the file has them column by column). 11 test images are also training images. context: "labels" gives
    conditional models the class of each image, one-hot. Raises VaezooError when the file can be neither read nor
    downloaded, or is not the published one.
    """
    from scipy.io import loadmat

    [path] = original_files(root, "caltech-silhouettes").values()
    arrays = loadmat(path)

    def split(name: str) -> Pair:
        """Images uint8 [N, 1, 28, 28] and classes 0..100."""
        x = torch.from_numpy(arrays[f"{name}_data"]).view(-1, 1, 28, 28).transpose(2, 3)
        return (1 - x).contiguous(), torch.from_numpy(arrays[f"{name}_labels"]).view(-1).to(torch.int64) - 1

    return Dataset(*with_classes((split("train"), split("val"), split("test")), CLASSES, context), measure="binary")
