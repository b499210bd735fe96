"""dSprites: all 737,280 pictures of a square, an ellipse and a heart in 6 scales, 40 rotations and 32 x 32 places."""

from pathlib import Path
from typing import Literal

import numpy as np

from vaezoo.core.data import Dataset
from vaezoo.datasets._downloads import original_files
from vaezoo.datasets._own.assembly import assembled
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Part
from vaezoo.datasets._own.zipped import ZippedRows
from vaezoo.registry import register

HELD_OUT = 10_000


@register.dataset("dsprites", paper="Matthey et al. (2017), github.com/google-deepmind/dsprites-dataset")
def dsprites(root: Path, seed: int, *, context: Literal["factors"] | None = None) -> Dataset:
    """Binary sprites with their five factors, shape (1, 64, 64); 717,280 / 10,000 / 10,000, chosen once.

    y [N, 5]: shape, scale, rotation, x and y, each a whole number from 0. context: "factors" gives conditional models
    these numbers. The images take 3 GB, mapped from a temporary file. Raises VaezooError when the file can be neither
    read nor downloaded, or is not the published one.
    """
    [path] = original_files(root, "dsprites").values()
    with np.load(path, allow_pickle=False) as arrays:
        factors = arrays["latents_classes"][:, 1:].astype(np.int64)
    part = Part(ZippedRows(path, "imgs"), path.name, labels=factors, contexts={"factors": factors})
    options = OwnOptions(path=str(path), measure="binary", valid=HELD_OUT, test=HELD_OUT, context=context)
    return assembled({"train": part}, options, seed)
