"""Reads MNIST and Fashion-MNIST through torchvision, and draws a binarisation that is the same on every machine."""

import hashlib
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError
from vaezoo.datasets._labels import Pair


class Published(NamedTuple):
    """What a published file is, unpacked: its bytes, and their sha256."""

    size: int
    sha256: str


FILES = {
    "MNIST": {
        "train-images-idx3-ubyte": Published(
            16 + 60_000 * 784, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": Published(
            8 + 60_000, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "t10k-images-idx3-ubyte": Published(
            16 + 10_000 * 784, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte": Published(
            8 + 10_000, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": Published(
            16 + 60_000 * 784, "9fff5efa9144debe7134e5b10dfd1976575d4938d5e4dfa232c2f9ef638d0f0d"
        ),
        "train-labels-idx1-ubyte": Published(
            8 + 60_000, "7cd88f551e93510030f93325e39e5d8112c932e2d6d2b1fde7ead816545ae184"
        ),
        "t10k-images-idx3-ubyte": Published(
            16 + 10_000 * 784, "64171f26c6962db16670612e300d198569661d5f2ab7a69419a3d68e7ff181d7"
        ),
        "t10k-labels-idx1-ubyte": Published(
            8 + 10_000, "59df6c6ad638dc43879f10a8c5b516aabdcef4f924ba14410bf8aec5e518b1c4"
        ),
    },
}
"""The files that torchvision's class of each name reads."""
TIMEOUT = 5.0
"""Seconds without an answer after which a download fails."""
BLOCK = 5000


def gray_splits(root: Path, reader: str) -> tuple[Pair, Pair, Pair]:
    """Gray levels uint8 [N, 1, 28, 28] and labels int64 [N] of train (50k), valid and test (10k each).

    Validation is the training file's last 10k. reader: `MNIST` or `FashionMNIST`, torchvision's class, whose files
    are in <root>/<reader>/raw and are downloaded there when missing. Raises VaezooError, which names the files and
    their folder, when they are not the published ones or cannot be downloaded.
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


def _fetch(root: Path, source: Any) -> None:
    """Download the missing files, and check all. A complete folder may be read-only: nothing is written into it."""
    name = source.__name__
    raw, files = root / name / "raw", FILES[name]
    if any(_size(raw / file) is None for file in files):
        _download(root, source)
    for file, (size, sha256) in files.items():
        found = _size(raw / file) or 0
        if found != size:
            raise VaezooError(f"{raw / file} is damaged: {found} bytes, expected {size}; {_AGAIN}")
        if _sha256(raw / file, (raw / file).stat().st_mtime_ns) != sha256:
            raise VaezooError(f"{raw / file} is damaged: it is not the published file (its sha256 differs); {_AGAIN}")


_AGAIN = "delete it, so that it is downloaded again"


@lru_cache(maxsize=64)
def _sha256(file: Path, changed: int) -> str:
    """The sha256 of a file that was last changed at this time. A process reads each file once."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _download(root: Path, source: Any) -> None:
    from filelock import FileLock

    name = source.__name__
    raw, files = root / name / "raw", FILES[name]
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw / ".download.lock"), _socket_timeout(TIMEOUT):
            if any(_size(raw / file) is None for file in files):
                source(root, download=True)
    except (OSError, RuntimeError, HTTPException, EOFError, zlib.error) as error:
        for packed, md5 in source.resources:  # torchvision downloads a damaged one again where it can
            if (raw / packed).is_file() and hashlib.md5((raw / packed).read_bytes()).hexdigest() != md5:
                raise VaezooError(
                    f"{raw / packed} is damaged: it is not the published file (its md5 differs); {_AGAIN}"
                ) from None
        missing = [file for file in files if _size(raw / file) is None]
        if missing:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise VaezooError(
                f"{name} is not in {root} and could not be downloaded ({reason}); "
                f"put {', '.join(missing)} (or each as .gz) into {raw}, "
                "or name another place with VAEZOO_DATA or --data-root"
            ) from None


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
