"""OMNIGLOT as Burda et al. published it: characters of 50 alphabets, gray, 28 x 28, binarised for every batch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaezoo.core.data import Dataset
from vaezoo.datasets._classes import with_classes
from vaezoo.datasets._downloads import original_files
from vaezoo.datasets._labels import Context, Pair
from vaezoo.datasets._mnist_files import binarised
from vaezoo.registry import register

ALPHABETS = 50
VALIDATION = 1345
SHUFFLE = 123
"""The seed of numpy's generator by which the paper's code shuffles the training images."""


@register.dataset("omniglot-burda", paper="Burda et al. (2016), arXiv:1509.00519; Lake et al. (2015)")
def omniglot_burda(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """Characters of 28 x 28 binarised anew for every training batch, shape (1, 28, 28); 23,000 / 1,345 / 8,070.

    The file's grays are probabilities, which are rounded to k / 255. Training images are shuffled and the last 1,345
    validate, as in the paper's code. Labels are alphabets; context: "labels" gives them to conditional models, one-hot.
    Raises VaezooError when the file can be neither read nor downloaded, or is not the published one.
    """
    from scipy.io import loadmat

    [path] = original_files(root, "omniglot-burda").values()
    arrays = loadmat(path)
    x, y = _read(arrays, "")
    order = torch.from_numpy(np.random.RandomState(SHUFFLE).permutation(len(x)))
    train, valid = order[:-VALIDATION], order[-VALIDATION:]
    held = binarised((x[valid], y[valid]), seed, "valid")
    splits = (x[train], y[train]), held, binarised(_read(arrays, "test"), seed, "test")
    return Dataset(*with_classes(splits, ALPHABETS, context), measure="binary", binarisation="dynamic")


def _read(arrays: dict[str, Any], start: str) -> Pair:
    """Gray levels uint8 [N, 1, 28, 28] of columns of pixels, each image column by column, and alphabets 0..49."""
    gray = np.rint(arrays[f"{start}data"].T * 255).astype(np.uint8).reshape(-1, 1, 28, 28).swapaxes(2, 3)
    alphabets = arrays[f"{start}target"].argmax(0)
    return torch.from_numpy(np.ascontiguousarray(gray)), torch.from_numpy(alphabets.astype(np.int64))
