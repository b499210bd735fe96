"""Reads MNIST and Fashion-MNIST through torchvision, and draws a binarisation that is the same on every machine."""

import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import torch

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError
from vaezoo.datasets._labels import Pair

SIZES = {
    "train-images-idx3-ubyte": 16 + 60_000 * 784,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 784,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}
"""Bytes of each file, unpacked."""
TIMEOUT = 5.0
"""Seconds without an answer after which a download fails."""
BLOCK = 5000


def gray_splits(root: Path, reader: str) -> tuple[Pair, Pair, Pair]:
    """Gray levels uint8 [N, 1, 28, 28] and labels int64 [N] of train (50k), valid and test (10k each).

    Validation is the training file's last 10k. reader: `MNIST` or `FashionMNIST`, torchvision's class, whose files
    are in <root>/<reader>/raw and are downloaded there when missing. Raises VaezooError, which names the files and
    their folder, when they are damaged or cannot be downloaded.
    """
    import torchvision.datasets

    source = getattr(torchvision.datasets, reader)
    _fetch(root, source)
    train, test = source(root, train=True), source(root, train=False)
    x, y = train.data.unsqueeze(1), train.targets
    return (x[:50_000], y[:50_000]), (x[50_000:], y[50_000:]), (test.data.unsqueeze(1), test.targets)


def binarised(pair: Pair, seed: int, split: str) -> Pair:
    """0/1 images drawn once with probability gray / 255, keyed by (seed, split, image): uint8 [N, ...] -> the same."""
    gray, labels = pair
    key = noise.derive(seed, "binarisation", split)
    drawn = []
    for index in torch.arange(len(gray), device="cpu").split(BLOCK):
        with noise.stream(key, index=index):
            drawn.append(noise.bernoulli(gray[index]))
    return torch.cat(drawn), labels


def _fetch(root: Path, source: type) -> None:
    """Download the missing files. A complete folder may be read-only: nothing is written into it."""
    from filelock import FileLock

    name = source.__name__
    raw = root / name / "raw"
    if all(_size(raw / file) == size for file, size in SIZES.items()):
        return
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw / ".download.lock"), _socket_timeout(TIMEOUT):
            if any(_size(raw / file) is None for file in SIZES):
                source(root, download=True)
    except (OSError, RuntimeError, HTTPException, EOFError, zlib.error) as error:
        missing = [file for file in SIZES if _size(raw / file) is None]
        if missing:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise VaezooError(
                f"{name} is not in {root} and could not be downloaded ({reason}); "
                f"put {', '.join(missing)} (or each as .gz) into {raw}, "
                "or name another place with VAEZOO_DATA or --data-root"
            ) from None
    for file, size in SIZES.items():
        found = _size(raw / file) or 0
        if found != size:
            raise VaezooError(
                f"{raw / file} is damaged: {found} bytes, expected {size}; delete it to download it again"
            )


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
