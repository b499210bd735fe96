"""What an image is: DataSpec, Split and Dataset.

x reaches the parts as float [B, *shape]: 0/1, k/(levels-1), counts, or as given.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError, unknown

MEASURES = ("binary", "discrete", "counts", "continuous")
BINARISATIONS = ("none", "fixed", "dynamic", "threshold")

Given = Tensor | tuple[Tensor, Tensor | None]
"""One split as a data set's author gives it: images x [N, *shape], or a pair (images, labels [N])."""


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
    """One split as it is stored: x [N, *shape] (uint8 where the values allow it), y labels [N] or None.

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

    def to(self, device: torch.device | str) -> "Split":
        """The same split with its tensors on a device."""
        moved = [t if t is None else t.to(device) for t in (self.x, self.y, self.context)]
        return Split(moved[0], moved[1], self.spec, self.dynamic, moved[2])  # type: ignore[arg-type]


class Dataset:
    """Training, validation and test images with their DataSpec.

    Each of train, valid and test is a tensor x [N, *shape] or a pair (x, labels [N]). With binarisation="dynamic" train
    holds gray levels 0..255 (uint8), which are binarised anew for every batch; valid and test are binary and fixed, the
    same in all cells. All are kept on the CPU: floats of half precision as float32, and continuous splits that differ
    in dtype in the default dtype. levels: see DataSpec; continuous images with levels lie in [0, 1].

    log_likelihood: x [B, *shape] -> log p(x) [B] in nats, where the true density is known.

    Raises VaezooError for an empty split, shapes that differ, and values that are not finite or that the measure does
    not allow.
    """

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
        names = ("train", "valid", "test")
        pairs = [_pair(name, given) for name, given in zip(names, (train, valid, test), strict=True)]
        self.spec = DataSpec(tuple(pairs[0][0].shape[1:]), measure, levels, binarisation)
        dynamic = [binarisation == "dynamic" and name == "train" for name in names]
        stored = [_stored(name, x, self.spec, d) for name, (x, _), d in zip(names, pairs, dynamic, strict=True)]
        if measure == "continuous" and len({x.dtype for x in stored}) > 1:
            stored = [x.to(torch.get_default_dtype()) for x in stored]
        self.train, self.valid, self.test = (
            Split(x, y, self.spec, d) for x, (_, y), d in zip(stored, pairs, dynamic, strict=True)
        )
        self.log_likelihood = log_likelihood

    @cached_property
    def checksum(self) -> str:
        """sha256 of the DataSpec and every stored value of the three splits, without the labels."""
        digest = hashlib.sha256(json.dumps(asdict(self.spec), sort_keys=True).encode())
        for split in (self.train, self.valid, self.test):
            digest.update(str((tuple(split.x.shape), str(split.x.dtype))).encode())
            digest.update(split.x.contiguous().numpy().data.cast("B"))
        return digest.hexdigest()


def _pair(name: str, given: Given) -> tuple[Tensor, Tensor | None]:
    """Images and labels of a split, both on the CPU, images of half precision as float32."""
    if isinstance(given, Tensor):
        x, y = given, None
    elif isinstance(given, tuple) and len(given) == 2:
        x, y = given
    else:
        size = f" of {len(given)}" if isinstance(given, tuple | list) else ""
        raise VaezooError(
            f"{name} must be a torch.Tensor [N, *shape] or a pair (images, labels [N]), "
            f"got {type(given).__name__}{size}; make tensors with torch.as_tensor, and a pair with round brackets"
        )
    if not isinstance(x, Tensor):
        raise VaezooError(
            f"{name} images must be a torch.Tensor [N, *shape], got {type(x).__name__}; use torch.as_tensor"
        )
    if x.ndim < 2 or x.numel() == 0:
        raise VaezooError(
            f"{name} images must be [N, *shape] with N >= 1 and a pixel or more, got {list(x.shape)}; "
            "give images an axis of their own, and none of length 0"
        )
    if x.is_complex():
        raise VaezooError(f"{name} images must be real numbers, got {x.dtype}; take x.real or x.abs()")
    if y is not None and not isinstance(y, Tensor):
        raise VaezooError(f"{name} labels must be a torch.Tensor [N], got {type(y).__name__}; use torch.as_tensor")
    if y is not None and y.shape[:1] != x.shape[:1]:
        found = y.shape[0] if y.ndim else "a single number"
        raise VaezooError(f"{name} needs a label for each of its {x.shape[0]} images, got {found}")
    x = x.detach().cpu()
    if x.is_floating_point() and x.dtype not in (torch.float32, torch.float64):
        x = x.to(torch.float32)
    elif x.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch does little with these
        x = x.to(torch.int64)
    return x, None if y is None else y.detach().cpu()


def _stored(name: str, x: Tensor, spec: DataSpec, dynamic: bool) -> Tensor:
    """Check one split, and store it in the smallest dtype that holds it."""
    if tuple(x.shape[1:]) != spec.shape:
        raise VaezooError(f"{name} images must be of shape {list(spec.shape)} as train's are, got {list(x.shape[1:])}")
    if x.is_floating_point():
        bad = (~x.isfinite()).flatten(1).any(1)
        if bad.any():
            first = int(bad.nonzero()[0])
            raise VaezooError(
                f"{name} images hold NaN or infinity in {int(bad.sum())} of {len(x)} images, "
                f"first in image {first}; clean the data"
            )
    if spec.measure == "continuous":
        low, high = float(x.min()), float(x.max())
        if spec.levels is not None and not 0 <= low <= high <= 1:
            raise VaezooError(
                f"{name} images of this continuous set with levels={spec.levels} must lie in [0, 1], "
                f"got {low:g}..{high:g}; divide them by the number of levels, or leave levels out"
            )
        return x if x.is_floating_point() else x.to(torch.get_default_dtype())
    if x.is_floating_point() and not bool((x == x.round()).all()):
        raise VaezooError(
            f"{name} images of a {spec.measure} set must be whole numbers, got {float(x[x != x.round()][0]):.4g}"
        )
    top = {"binary": 255 if dynamic else 1, "discrete": (spec.levels or 2) - 1}.get(spec.measure, 2**31 - 1)
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > top:
        raise VaezooError(f"{name} images of this {spec.measure} set must lie in 0..{top}, got {low:g}..{high:g}")
    return x.to(torch.uint8 if high <= 255 else torch.int32)
