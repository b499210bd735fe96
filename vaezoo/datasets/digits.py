"""scikit-learn's handwritten digits: 1,797 real images of 8 x 8, which need no download."""

import warnings
import zlib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.data import Dataset
from vaezoo.datasets._labels import Context, Pair, with_context
from vaezoo.registry import register

PAPER = "Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI"
LEVELS = 17
FILE = "datasets/data/digits.csv.gz"
SIZES = (1197, 300, 300)
GRID = 2.0**16
"""Dequantisation noise lies on this grid, so that a value stays below 1 and within its level in float32 too."""


def _rows() -> Tensor:
    """The 64 levels and the label of each image, int64 [1797, 65].

    Reads scikit-learn's file where it lies, because scikit-learn is slow to import.
    """
    found = find_spec("sklearn")
    for folder in (found.submodule_search_locations if found else None) or ():
        with suppress(OSError, ValueError, EOFError, zlib.error), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, of a file without rows
            rows = np.loadtxt(Path(folder) / FILE, delimiter=",", dtype=np.int64)
            if rows.shape == (sum(SIZES), 65):
                return torch.from_numpy(rows)
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return torch.from_numpy(np.column_stack([loaded.data, loaded.target]).astype(np.int64))


def _splits() -> tuple[Pair, Pair, Pair]:
    """Levels 0..16 uint8 [N, 1, 8, 8] and labels int64 [N] of train, valid and test, the same for every seed."""
    rows = _rows()
    x, y = rows[:, :-1].to(torch.uint8).view(-1, 1, 8, 8), rows[:, -1].clone()
    order = noise.mix(torch.arange(len(x), device="cpu") + noise.derive(0, "digits", "split")).argsort()
    train, valid, test = order.split(SIZES)
    return (x[train], y[train]), (x[valid], y[valid]), (x[test], y[test])


@register.dataset("digits", paper=PAPER)
def digits(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """Real 8x8 digits of 17 gray levels (discrete), shape (1, 8, 8); 1,197 / 300 / 300 with labels; scikit-learn's.

    context: "labels" gives conditional models the class of each image, one-hot.
    """
    return Dataset(*with_context(*_splits(), context), measure="discrete", levels=LEVELS)


@register.dataset("digits-binary", paper=PAPER)
def digits_binary(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """`digits` made 0/1 by a threshold: 1 where the level is 8 of 16 or more. The same for every seed.

    context: as of `digits`.
    """
    train, valid, test = (((x >= 8).to(torch.uint8), y) for x, y in _splits())
    return Dataset(*with_context(train, valid, test, context), measure="binary", binarisation="threshold")


@register.dataset("digits-dequantised", paper="Theis et al. (2016), arXiv:1511.01844")
def digits_dequantised(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """`digits` as (level + u) / 17 in [0, 1), continuous, u uniform and drawn once for each seed.

    floor(17 x) is the level again. The mean over u of log p(x), minus 64 log 17 nats, bounds the discrete
    log-likelihood from below. The spec keeps levels = 17, so that bits per dimension add log2(17). context: as of
    `digits`.
    """
    named = zip(_splits(), ("train", "valid", "test"), strict=True)
    train, valid, test = (_dequantised(pair, seed, name) for pair, name in named)
    return Dataset(*with_context(train, valid, test, context), measure="continuous", levels=LEVELS)


def _dequantised(pair: Pair, seed: int, split: str) -> Pair:
    x, labels = pair
    index = torch.arange(len(x), device="cpu")
    with noise.stream(noise.derive(seed, "dequantisation", split), index=index, dtype=torch.float64):
        u = noise.uniform(1, *x.shape)[0]
    u = ((u * GRID).floor() + 0.5) / GRID
    return ((x.to(torch.float64) + u) / LEVELS).to(torch.float32), labels
