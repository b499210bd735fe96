"""Fashion-MNIST with uniform noise within each gray level, so that a density bounds its discrete likelihood."""

from pathlib import Path

import torch

from vaezoo.core import noise
from vaezoo.core.data import Dataset
from vaezoo.datasets._labels import Context, Pair, with_context
from vaezoo.datasets._mnist_files import BLOCK, gray_splits
from vaezoo.registry import register

LEVELS = 256
GRID = 2.0**15
"""The noise lies on this grid, so that float32 holds level and noise exactly."""


@register.dataset("fashion-mnist-dequantised", paper="Theis et al. (2016), arXiv:1511.01844")
def fashion_mnist_dequantised(root: Path, seed: int, *, context: Context = None) -> Dataset:
    """`fashion-mnist` as (level + u) / 256 in [0, 1), continuous, u uniform and drawn once for each seed.

    floor(256 x) is the level again. The mean over u of log p(x), minus 784 log 256 nats, bounds the discrete
    log-likelihood from below. The spec keeps levels = 256, so that bits per dimension add 8. Raises as `fashion-mnist`.
    context: as of `fashion-mnist`.
    """
    named = zip(gray_splits(root, "FashionMNIST"), ("train", "valid", "test"), strict=True)
    train, valid, test = (_dequantised(pair, seed, name) for pair, name in named)
    return Dataset(*with_context(train, valid, test, context), measure="continuous", levels=LEVELS)


def _dequantised(pair: Pair, seed: int, split: str) -> Pair:
    gray, labels = pair
    found = torch.empty(gray.shape, dtype=torch.float32)
    for index in torch.arange(len(gray), device="cpu").split(BLOCK):
        with noise.stream(noise.derive(seed, "dequantisation", split), index=index, dtype=torch.float64):
            u = noise.uniform(1, len(index), *gray.shape[1:])[0]
        found[index] = ((gray[index] + ((u * GRID).floor() + 0.5) / GRID) / LEVELS).to(torch.float32)
    return found, labels
