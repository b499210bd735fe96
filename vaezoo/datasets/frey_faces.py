"""Frey Faces: 1,965 frames of one face, gray, 28 x 20."""

from pathlib import Path

import torch

from vaezoo.core import noise
from vaezoo.core.data import Dataset
from vaezoo.datasets._downloads import original_files
from vaezoo.registry import register

SIZES = (1565, 200, 200)


@register.dataset("frey-faces", paper="Roweis et al. (2002), Global Coordination of Local Linear Models, NeurIPS")
def frey_faces(root: Path, seed: int) -> Dataset:
    """Frames of a face of 256 gray levels (discrete), shape (1, 28, 20); 1,565 / 200 / 200, chosen once.

    Frames that follow each other are alike, so numbers depend on the split: none of the papers published theirs.
    Raises VaezooError when the file can be neither read nor downloaded, or is not the published one.
    """
    from scipy.io import loadmat

    [path] = original_files(root, "frey-faces").values()
    x = torch.from_numpy(loadmat(path)["ff"].T.reshape(-1, 1, 28, 20).copy())
    order = noise.mix(torch.arange(len(x), device="cpu") + noise.derive(0, "frey-faces", "split")).argsort()
    train, valid, test = (x[rows] for rows in order.split(SIZES))
    return Dataset(train, valid, test, measure="discrete", levels=256)
