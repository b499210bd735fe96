"""Omniglot: handwritten characters of 50 alphabets, made 28 x 28 in gray."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaezoo.core import noise
from vaezoo.core.data import Dataset
from vaezoo.datasets._downloads import torchvision_set
from vaezoo.datasets._labels import Pair
from vaezoo.registry import register

VALIDATION = 1345


@register.dataset("omniglot", paper="Lake et al. (2015), doi:10.1126/science.aab3050")
def omniglot(root: Path, seed: int, *, size: int = 28) -> Dataset:
    """Characters of 256 gray levels (discrete), ink bright, shape (1, size, size); 17,935 / 1,345 / 13,180 with labels.

    The drawings of 105 x 105 are averaged over boxes. Test is the evaluation set, whose alphabets are others than those
    of training; validation is a choice of the background set, made once by a seed of ours. For the file of Burda et al.
    see `omniglot-burda`. Raises VaezooError when the files can be neither read nor downloaded.
    """
    (x, y), test = (_pair(torchvision_set(root, "Omniglot", background=each), size) for each in (True, False))
    order = noise.mix(torch.arange(len(x), device="cpu") + noise.derive(0, "omniglot", "split")).argsort()
    train, valid = order[VALIDATION:].sort().values, order[:VALIDATION]
    return Dataset((x[train], y[train]), (x[valid], y[valid]), test, measure="discrete", levels=256)


def _pair(drawings: Any, size: int) -> Pair:
    """Gray levels uint8 [N, 1, size, size], ink 255, and the number of each character."""
    from PIL import Image

    images, labels = [], []
    for picture, character in drawings:
        small = picture.convert("L").resize((size, size), Image.Resampling.BOX)
        images.append(255 - np.asarray(small, dtype=np.uint8))
        labels.append(character)
    return torch.from_numpy(np.stack(images))[:, None], torch.tensor(labels)
