"""Static MNIST: Larochelle's binarisation of MNIST, drawn once and published."""

from pathlib import Path

import torch

from vaezoo.core.data import Dataset
from vaezoo.datasets._downloads import original_files
from vaezoo.registry import register


@register.dataset("mnist-static", paper="Larochelle and Murray (2011), Neural Autoregressive Distribution Estimator")
def mnist_static(root: Path, seed: int) -> Dataset:
    """MNIST binarised once, as Larochelle published it, shape (1, 28, 28); 50k / 10k / 10k without labels.

    Numbers on it compare with those of papers on this file alone, and with those on `mnist-fixed` not. Raises
    VaezooError when the files can be neither read nor downloaded, or are not the published ones.
    """
    files = list(original_files(root, "mnist-static").values())
    train, valid, test = (_read(path) for path in files)
    return Dataset(train, valid, test, measure="binary", binarisation="fixed")


def _read(path: Path) -> torch.Tensor:
    """Images uint8 [N, 1, 28, 28] of a file with a digit and a blank, or the line's end, for each pixel."""
    text = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    return (text[::2] - ord("0")).view(-1, 1, 28, 28)
