"""What an image is: DataSpec, Split and Dataset.

x reaches the parts as float [B, *shape]: 0/1, k/(levels-1), counts, or as given.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError, unknown
from vaezoo.core.given_splits import Given, GivenSplit, given_splits, stored_images
from vaezoo.core.overlaps import Overlap, overlaps_of

MEASURES = ("binary", "discrete", "counts", "continuous")
BINARISATIONS = ("none", "fixed", "dynamic", "threshold")


@dataclass(frozen=True)
class DataSpec:
    """The space that images live in and the measure of their densities. Two numbers are comparable only where these
    agree.

    shape: of one image. measure: `binary`, `discrete` (with its number of levels), `counts` or `continuous`. levels:
    the number of levels of a discrete image, or of the image that a continuous one in [0, 1) was dequantised from (then
    log2(levels) is added to the bits per dimension). binarisation: how a binary image was made (`none`, `fixed`,
    `dynamic`, `threshold`). context: the length of each image's context vector in a conditional data set, or None.

    Raises VaezooError for another measure or binarisation, a discrete image without levels, dynamic binarisation of
    images that are not binary, and an axis of length 0.
    """

    shape: tuple[int, ...]
    measure: str
    levels: int | None = None
    binarisation: str = "none"
    context: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if self.measure not in MEASURES:
            raise VaezooError(unknown("measure", self.measure, MEASURES))
        if self.binarisation not in BINARISATIONS:
            raise VaezooError(unknown("binarisation", self.binarisation, BINARISATIONS))
        if self.binarisation == "dynamic" and self.measure != "binary":
            raise VaezooError(
                f"binarisation 'dynamic' makes images binary, got measure {self.measure!r}; say measure='binary'"
            )
        if any(n < 1 for n in self.shape):
            raise VaezooError(
                f"an image has one pixel or more along each axis, got shape {list(self.shape)}; drop axes of length 0"
            )
        if self.measure == "discrete" and (self.levels is None or self.levels < 2):
            raise VaezooError(f"a discrete image needs its number of levels, 2 or more, got levels={self.levels}")

    @property
    def dimensions(self) -> int:
        """D, the number of pixels (all channels) of an image."""
        return math.prod(self.shape)

    def to_float(self, x: Tensor) -> Tensor:
        """Stored images as the parts get them: integers become 0/1, k/(levels-1) or counts in the default dtype. Floats
        keep their values, and float64 keeps its dtype.
        """
        if x.is_floating_point():
            return x.to(torch.get_default_dtype()) if x.dtype != torch.float64 else x
        scale = self.levels - 1 if self.measure == "discrete" and self.levels else 1
        x = x.to(torch.get_default_dtype())
        return x if scale == 1 else x / scale


@dataclass(frozen=True)
class Split:
    """One split as it is stored: x [N, *shape] (uint8 where the values allow it), y labels [N], factors [N, F] or None,
    context [N, C] or None.

    Where `dynamic`, x holds gray levels 0..255, and each call of `images` binarises anew.
    """

    x: Tensor
    y: Tensor | None
    spec: DataSpec
    dynamic: bool = False
    context: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def images(self, index: Tensor | slice | None = None) -> Tensor:
        """Images as the parts get them, float [B, *shape]. `vaezoo.noise` draws the dynamic ones."""
        x = self.x if index is None else self.x[index]
        return self.spec.to_float(noise.bernoulli(x) if self.dynamic else x)

    def rows(self, index: Tensor | slice) -> "Split":
        """The split of these images."""
        chosen = [t if t is None else t[index] for t in (self.x, self.y, self.context)]
        return Split(chosen[0], chosen[1], self.spec, self.dynamic, chosen[2])  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> "Split":
        """The same split with its tensors on a device."""
        moved = [t if t is None else t.to(device) for t in (self.x, self.y, self.context)]
        return Split(moved[0], moved[1], self.spec, self.dynamic, moved[2])  # type: ignore[arg-type]


class Dataset:
    """Training, validation and test images with their DataSpec.

    Each of train, valid and test is x [N, *shape], or (x, labels [N]), or (x, labels, context [N, C]): tensors or numpy
    arrays, labels or None. Labels [N, F] of whole numbers are the factors that an image was made from; the scores of
    disentanglement read them. A context is what a conditional model p(x|context) may see of each image; all three
    splits have one, or none has. With binarisation="dynamic" train holds gray levels 0..255 (uint8), which are
    binarised anew for every batch; valid and test are binary and fixed, the same in all cells. All are kept on the CPU:
    floats of half precision as float32, and continuous splits or contexts that differ in dtype in the default dtype.
    levels: see DataSpec; continuous images with levels lie in [0, 1].

    log_likelihood: x [B, *shape] -> log p(x) [B] in nats, where the true density is known.

    Raises VaezooError for an empty split, lengths or shapes that differ, and values that are not finite or that the
    measure does not allow.
    """

    remarks: tuple[str, ...] = ()
    """What a user should know of the data before training, a line each; `load_dataset` warns of them."""

    def __init__(
        self,
        train: Given,
        valid: Given,
        test: Given,
        measure: str,
        *,
        levels: int | None = None,
        binarisation: str = "none",
        log_likelihood: Callable[[Tensor], Tensor] | None = None,
    ):
        splits = given_splits({"train": train, "valid": valid, "test": test})
        first = splits[0]
        context = None if first.context is None else first.context.shape[1]
        self.spec = DataSpec(tuple(first.x.shape[1:]), measure, levels, binarisation, context)
        stored = [stored_images(split, self.spec, dynamic=self._is_dynamic(split)) for split in splits]
        if measure == "continuous" and len({x.dtype for x in stored}) > 1:
            stored = [x.to(torch.get_default_dtype()) for x in stored]
        self.train, self.valid, self.test = (
            Split(x, split.y, self.spec, self._is_dynamic(split), split.context)
            for x, split in zip(stored, splits, strict=True)
        )
        self.log_likelihood = log_likelihood

    @classmethod
    def of_splits(
        cls,
        spec: DataSpec,
        train: Split,
        valid: Split,
        test: Split,
        *,
        checksum: str,
        context_checksum: str | None,
        overlaps: tuple[Overlap, ...],
        remarks: tuple[str, ...] = (),
    ) -> "Dataset":
        """The data set of splits that an earlier Dataset checked and stored, with the checksums and overlaps that it
        had.
        """
        dataset = cls.__new__(cls)
        dataset.spec, dataset.log_likelihood = spec, None
        dataset.train, dataset.valid, dataset.test, dataset.remarks = train, valid, test, remarks
        dataset.__dict__ |= {"checksum": checksum, "context_checksum": context_checksum, "overlaps": overlaps}
        return dataset

    def limited(self, count: int) -> "Dataset":
        """The same data set with the first `count` training images alone. Raises VaezooError where it has fewer."""
        if not 1 <= count <= len(self.train):
            raise VaezooError(f"limit must be 1..{len(self.train)} training images, got {count}")
        dataset = Dataset.__new__(Dataset)
        dataset.spec, dataset.log_likelihood, dataset.remarks = self.spec, self.log_likelihood, self.remarks
        dataset.train, dataset.valid, dataset.test = self.train.rows(slice(count)), self.valid, self.test
        return dataset

    def _is_dynamic(self, split: GivenSplit) -> bool:
        return self.spec.binarisation == "dynamic" and split.name == "train"

    @cached_property
    def checksum(self) -> str:
        """sha256 of the images: the DataSpec and every stored value of the three splits, without labels and context."""
        images = {**asdict(self.spec), "context": None}
        digest = hashlib.sha256(json.dumps(images, sort_keys=True).encode())
        for split in (self.train, self.valid, self.test):
            _add(digest, split.x)
        return digest.hexdigest()

    @cached_property
    def context_checksum(self) -> str | None:
        """sha256 of every value of the three splits' contexts, or None where there are none."""
        digest = hashlib.sha256()
        for split in (self.train, self.valid, self.test):
            if split.context is None:
                return None
            _add(digest, split.context)
        return digest.hexdigest()

    @cached_property
    def labels_checksum(self) -> str | None:
        """sha256 of every value of the three splits' labels or factors, or None where no split has any."""
        splits = (self.train, self.valid, self.test)
        if all(split.y is None for split in splits):
            return None
        digest = hashlib.sha256()
        for split in splits:
            _add(digest, torch.empty(0) if split.y is None else split.y)
        return digest.hexdigest()

    @cached_property
    def overlaps(self) -> tuple[Overlap, ...]:
        """The pairs of splits that share images. `load_dataset` refuses a data set whose splits share too many.

        Images are equal where all their pixels are, dequantised ones where all their levels are.
        """
        splits = {"train": self.train, "valid": self.valid, "test": self.test}
        mixed = len({split.x.dtype for split in splits.values()}) > 1
        return overlaps_of(
            {name: np.fromiter(image_hashes(split, mixed), np.int64, len(split)) for name, split in splits.items()}
        )


def image_hashes(split: Split, mixed: bool) -> Iterator[int]:
    """A hash of 64 bits of each image, which is another in another process. mixed: whether the splits of whole numbers
    are stored in several dtypes.
    """
    spec = split.spec
    for block in split.x.split(1000):
        if spec.measure == "continuous":
            values = block + 0.0 if spec.levels is None else (block * spec.levels).floor().int()  # -0.0 becomes 0.0
        elif spec.binarisation == "dynamic":
            values = block if split.dynamic else block * 255
        else:
            values = block.int() if mixed else block
        rows = values.flatten(1).contiguous().numpy()
        yield from map(hash, rows.view(f"V{rows.shape[1] * rows.itemsize}").ravel().tolist())


def _add(digest: "hashlib._Hash", values: Tensor) -> None:
    """Add shape, dtype and values of a tensor to a checksum."""
    digest.update(str((tuple(values.shape), str(values.dtype))).encode())
    digest.update(values.contiguous().numpy().data.cast("B"))
