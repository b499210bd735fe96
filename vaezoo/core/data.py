"""What an image is: DataSpec, Split and Dataset. x reaches the parts as float [B, *shape]: 0/1, k/(levels-1), counts, or as given."""

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


@dataclass(frozen=True)
class DataSpec:
    """What a density of these images is a density of; two numbers are comparable only where these agree.

    shape: of one image. measure: `binary`, `discrete` (with its number of levels), `counts` or `continuous`. levels: of a
    discrete image, or those that a continuous one in [0, 1) was dequantised from (then bits per dimension get log2(levels) put
    back). binarisation: how a binary image came about (`none`, `fixed`, `dynamic`, `threshold`). context: length of the vector
    that comes with each image of a conditional set, or None.
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
        if self.measure == "discrete" and (self.levels is None or self.levels < 2):
            raise VaezooError(f"a discrete image needs its number of levels, 2 or more, got levels={self.levels}")

    @property
    def dimensions(self) -> int:
        """D, the number of pixels (all channels) of an image."""
        return math.prod(self.shape)

    def to_float(self, x: Tensor) -> Tensor:
        """Stored images as the parts see them, in the default dtype: integers become 0/1, k/(levels-1) or counts; floats pass."""
        if x.is_floating_point():
            return x.to(torch.get_default_dtype()) if x.dtype != torch.float64 else x
        scale = self.levels - 1 if self.measure == "discrete" and self.levels else 1
        x = x.to(torch.get_default_dtype())
        return x if scale == 1 else x / scale


@dataclass(frozen=True)
class Split:
    """One split as it is stored: x [N, *shape] (uint8 where it can be), y labels [N] or None.

    Where `dynamic`, x holds gray levels 0..255 and an image is binarised anew each time it is asked for.
    """

    x: Tensor
    y: Tensor | None
    spec: DataSpec
    dynamic: bool = False
    context: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def images(self, index: Tensor | slice | None = None) -> Tensor:
        """Images as the parts see them, float [B, *shape]; dynamic ones are drawn with `vaezoo.noise`."""
        x = self.x if index is None else self.x[index]
        return self.spec.to_float(noise.bernoulli(x) if self.dynamic else x)

    def to(self, device: torch.device | str) -> "Split":
        """The same split with its tensors on a device."""
        moved = [t if t is None else t.to(device) for t in (self.x, self.y, self.context)]
        return Split(moved[0], moved[1], self.spec, self.dynamic, moved[2])  # type: ignore[arg-type]


class Dataset:
    """Training, validation and test images with what they are.

    Each of train, valid and test is a tensor x [N, *shape] or a pair (x, labels [N]). With binarisation="dynamic" train holds gray
    levels 0..255 (uint8), binarised anew for every batch; valid and test are binary and fixed, the same in all cells.

    log_likelihood: where the true density is known, x [B, *shape] -> log p(x) [B] in nats.

    Raises VaezooError for an empty split, shapes that differ, values that are not finite or outside the measure.
    """

    def __init__(
        self,
        train: Tensor | tuple[Tensor, Tensor | None],
        valid: Tensor | tuple[Tensor, Tensor | None],
        test: Tensor | tuple[Tensor, Tensor | None],
        measure: str,
        *,
        levels: int | None = None,
        binarisation: str = "none",
        log_likelihood: Callable[[Tensor], Tensor] | None = None,
    ):
        pairs = [part if isinstance(part, tuple) else (part, None) for part in (train, valid, test)]
        self.spec = DataSpec(tuple(pairs[0][0].shape[1:]), measure, levels, binarisation)
        splits = []
        for name, (x, y) in zip(("train", "valid", "test"), pairs, strict=True):
            dynamic = binarisation == "dynamic" and name == "train"
            splits.append(Split(_stored(name, x, y, self.spec, dynamic), y, self.spec, dynamic))
        self.train, self.valid, self.test = splits
        self.log_likelihood = log_likelihood

    @cached_property
    def checksum(self) -> str:
        """sha256 over what the images are and every stored value of the three splits, labels apart."""
        digest = hashlib.sha256(json.dumps(asdict(self.spec), sort_keys=True).encode())
        for split in (self.train, self.valid, self.test):
            digest.update(str((tuple(split.x.shape), str(split.x.dtype))).encode())
            digest.update(memoryview(split.x.contiguous().numpy()).cast("B"))
        return digest.hexdigest()


def _stored(name: str, x: Tensor, y: Tensor | None, spec: DataSpec, dynamic: bool) -> Tensor:
    """Check one split and store it as small as it goes."""
    if not isinstance(x, Tensor):
        raise VaezooError(f"{name} images must be a torch.Tensor [N, *shape], got {type(x).__name__}")
    if x.ndim < 2 or x.shape[0] == 0:
        raise VaezooError(f"{name} images must be [N, *shape] with N >= 1, got {list(x.shape)}")
    if tuple(x.shape[1:]) != spec.shape:
        raise VaezooError(f"{name} images must be of shape {list(spec.shape)} as train's are, got {list(x.shape[1:])}")
    if y is not None and y.shape[0] != x.shape[0]:
        raise VaezooError(f"{name} needs a label for each of its {x.shape[0]} images, got {y.shape[0]}")
    if x.is_floating_point():
        bad = (~x.isfinite()).flatten(1).any(1)
        if bad.any():
            first = int(bad.nonzero()[0])
            raise VaezooError(
                f"{name} images hold NaN or infinity in {int(bad.sum())} of {len(x)} images, first in image {first}; clean the data"
            )
    if spec.measure == "continuous":
        return x if x.is_floating_point() else x.to(torch.get_default_dtype())
    if x.is_floating_point() and not bool((x == x.round()).all()):
        raise VaezooError(f"{name} images of a {spec.measure} set must be whole numbers, got {float(x[x != x.round()][0]):.4g}")
    top = {"binary": 255 if dynamic else 1, "discrete": (spec.levels or 2) - 1}.get(spec.measure)
    low, high = float(x.min()), float(x.max())
    if low < 0 or (top is not None and high > top):
        raise VaezooError(f"{name} images of this {spec.measure} set must lie in 0..{top or 'any'}, got {low:g}..{high:g}")
    return x.to(torch.uint8 if high <= 255 else torch.int32)
