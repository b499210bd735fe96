"""Where the files of each published data set are, how large they are, and their published checksums. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from vaezoo.core.errors import VaezooError

IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
AGAIN = "delete it, so that it is downloaded again"


@dataclass(frozen=True)
class File:
    """A file below a source's folder. bytes: its size, None where it is not known. digest: `sha256:...`, `md5:...` or
    `git:...` (the name of the blob in its repository); empty where the reader checks it itself. url: where it is
    downloaded from, empty where torchvision knows.
    """

    bytes: int | None = None
    digest: str = ""
    url: str = ""


@dataclass(frozen=True)
class Source:
    """The files of a data set. folder: below the data root. download: how many bytes are downloaded, about."""

    folder: str
    files: Mapping[str, File]
    download: int | None
    needs: str = field(default="")

    def absent(self, root: Path) -> list[str]:
        """The files that are not there."""
        return [name for name in self.files if not (root / self.folder / name).exists()]

    def state(self, root: Path) -> str:
        """`present, 52.4 MB`, or what would be downloaded, for `vaezoo list dataset`."""
        if not self.absent(root):
            return f"present, {megabytes(_bytes_in([root / self.folder / name for name in self.files]))}"
        size = "of unknown size" if self.download is None else megabytes(self.download)
        return f"absent, {size} to download{self.needs and '; '}{self.needs}"


def _bytes_in(paths: list[Path]) -> int:
    """The bytes of files. Of a folder none, because it may hold hundreds of thousands."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def megabytes(count: int) -> str:
    """`52.4 MB`."""
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.2f} GB"


_URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/binarized_mnist"
_DSPRITES = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
SOURCES = {
    "MNIST": Source("MNIST/raw", {name: File() for name in IDX}, 11_594_722),
    "FashionMNIST": Source("FashionMNIST/raw", {name: File() for name in IDX}, 30_878_645),
    "KMNIST": Source("KMNIST/raw", {name: File() for name in IDX}, 21_240_888),
    "EMNIST": Source(
        "EMNIST/raw",
        {f"emnist-balanced-{name.replace('t10k', 'test')}": File() for name in IDX},
        561_753_746,
    ),
    "Omniglot": Source("omniglot-py", {"images_background": File(), "images_evaluation": File()}, 15_927_098),
    "CIFAR10": Source("cifar-10-batches-py", {"data_batch_1": File(), "test_batch": File()}, 170_498_071),
    "CIFAR100": Source("cifar-100-python", {"train": File(), "test": File()}, 169_001_437),
    "SVHN": Source("SVHN", {"train_32x32.mat": File(182_040_794), "test_32x32.mat": File(64_275_384)}, 246_316_178),
    "CelebA": Source(
        "celeba",
        {"img_align_celeba": File(), "list_eval_partition.txt": File(2_836_386)},
        1_485_204_305,
        "the package gdown, or the files by hand",
    ),
    "caltech-silhouettes": Source(
        "Caltech101Silhouettes",
        {
            "caltech101_silhouettes_28_split1.mat": File(
                872_124,
                "sha256:eb6735e8d84b1850fabc5590124aab1755e90c9fd28123585324398405e1e42a",
                "https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat",
            )
        },
        872_124,
    ),
    "mnist-static": Source(
        "BinaryMNIST",
        {
            f"binarized_mnist_{split}.amat": File(size, f"sha256:{digest}", f"{_URL}_{split}.amat")
            for split, size, digest in (
                ("train", 78_400_000, "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
                ("valid", 15_680_000, "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
                ("test", 15_680_000, "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
            )
        },
        109_760_000,
    ),
    "omniglot-burda": Source(
        "OMNIGLOT",
        {
            "chardata.mat": File(
                None,
                "md5:21ecaf34373511aa7691cf2e0802aa3d",
                "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat",
            )
        },
        None,
    ),
    "frey-faces": Source(
        "FreyFaces",
        {
            "frey_rawface.mat": File(
                None, "md5:5aeb024d42b8a6091f30e5eb18c8a48d", "https://cs.nyu.edu/~roweis/data/frey_rawface.mat"
            )
        },
        None,
    ),
    "dsprites": Source(
        "dsprites",
        {
            _DSPRITES: File(
                None,
                "git:d98996d3f8ee1550e06b9d4ed78d0beb478910d5",
                f"https://github.com/google-deepmind/dsprites-dataset/raw/master/{_DSPRITES}",
            )
        },
        None,
    ),
}
"""The sources, by torchvision's class or by the data set's name."""
OF_DATASETS = {
    "mnist": "MNIST",
    "mnist-dynamic": "MNIST",
    "mnist-fixed": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "fashion-mnist-dynamic": "FashionMNIST",
    "fashion-mnist-dequantised": "FashionMNIST",
    "kmnist": "KMNIST",
    "emnist": "EMNIST",
    "omniglot": "Omniglot",
    "cifar-10": "CIFAR10",
    "cifar-100": "CIFAR100",
    "svhn": "SVHN",
    "celeba": "CelebA",
}
"""The source of each data set that is not called as its source is."""


def state_of(name: str, hyperparameters: Collection[str], root: Path) -> str:
    """What `vaezoo list` says of a data set's files: whether they are here, or what would be downloaded."""
    source = source_of(name)
    if source is not None:
        return source.state(root)
    return "your own file" if "path" in hyperparameters else "no file needed"


def source_of(name: str) -> Source | None:
    """The source of a registered data set, or None where it needs no file of ours."""
    return SOURCES.get(OF_DATASETS.get(name, name))


def checked(path: Path, file: File) -> Path:
    """The path of a file that is there and is the published one. Raises VaezooError where it is damaged."""
    found = path.stat().st_size
    if file.bytes is not None and found != file.bytes:
        raise VaezooError(f"{path} is damaged: {found} bytes, expected {file.bytes}; {AGAIN}")
    if file.digest:
        kind, _, expected = file.digest.partition(":")
        if digest(path, kind, path.stat().st_mtime_ns) != expected:
            raise VaezooError(f"{path} is damaged: it is not the published file (its {kind} differs); {AGAIN}")
    return path


@lru_cache(maxsize=64)
def digest(path: Path, kind: str, changed: int) -> str:
    """The digest of a file that was last changed at this time: sha256, md5, or git (sha1 with git's heading of a blob).
    A process reads each file once.
    """
    if kind == "git":
        total = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        total = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as opened:
        while block := opened.read(2**20):
            total.update(block)
    return total.hexdigest()
