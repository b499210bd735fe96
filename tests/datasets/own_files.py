"""Files of the user for the tests: what they hold, and what loading them gives or says."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from loading import one_line

import vaezoo
from vaezoo import VaezooError
from vaezoo.datasets import load_dataset

GRAY = {"measure": "discrete", "levels": 256}
LEVELS = np.random.default_rng(1).integers(0, 256, (50, 6, 5), dtype=np.uint8)
FILE_ORDER = {"order": "file", "valid": 5, "test": 5}


def own(name: str, path: Path, **options: object) -> vaezoo.Dataset:
    return load_dataset(name, options={"path": str(path), **options})


def whole(dataset: vaezoo.Dataset) -> torch.Tensor:
    return torch.cat([dataset.train.x, dataset.valid.x, dataset.test.x])


def idx_bytes(x: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{x.ndim}I", 0, 0, kind, x.ndim, *x.shape) + x.astype(x.dtype.newbyteorder(">")).tobytes()


def said(name: str, path: Path, **options: object) -> str:
    with pytest.raises(VaezooError) as raised:
        own(name, path, **options)
    return one_line(raised).removeprefix(f"dataset {name!r}: ")
