"""The pictures of a trained model as arrays, and the one .npz file that holds them. Needs no torch."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vaezoo.core.npz import arrays_of

LARGEST = 2**27
"""Bytes of the largest set of pictures that is read."""
_IMAGES = {"samples": 4, "originals": 4, "reconstructions": 4, "interpolations": 5, "traversals": 5}
"""The arrays of images, and how many axes each has."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a model's images look like. An array is None where it makes no sense for the model or its data.

    samples: E[x|z] of z from the prior, uint8 [n, H, W, C] with C 1 or 3. originals, reconstructions: test images and
    E[x|z] at a draw z of q(z|x) of each, uint8 [n, H, W, C]. interpolations: E[x|z] along the line between the latents
    of two test images, uint8 [rows, steps, H, W, C]. traversals: E[x|z] where one latent dimension moves and the others
    stay at the latents of the first test image, uint8 [dims, values, H, W, C]. traversal_dims: which dimensions of the
    lowest latent group, [dims]. traversal_values: float32 [values], shares of the aggregate posterior: at 0.05 a
    dimension has the value that 5 % of the test images' latents lie below. latent: a point of the plane for each test
    image, float32 [n, 2]. latent_labels: their labels, [n]. latent_method: `z` where the points are the posterior means
    themselves, `PCA` where they are the means' two principal components.
    """

    samples: np.ndarray | None = None
    originals: np.ndarray | None = None
    reconstructions: np.ndarray | None = None
    interpolations: np.ndarray | None = None
    traversals: np.ndarray | None = None
    traversal_dims: np.ndarray | None = None
    traversal_values: np.ndarray | None = None
    latent: np.ndarray | None = None
    latent_labels: np.ndarray | None = None
    latent_method: str | None = None

    def to_bytes(self) -> bytes:
        """The .npz file, compressed and without pickles. Equal pictures give equal bytes."""
        given = {name: each for name, each in vars(self).items() if each is not None}
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **given)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Pictures":
        """The pictures of an .npz file. Raises ValueError, in one line, where it holds anything else."""
        arrays: dict[str, Any] = {**arrays_of(content, LARGEST, {field.name for field in fields(cls)})}
        _check(arrays)
        if "latent_method" in arrays:
            arrays["latent_method"] = str(arrays["latent_method"])
        return cls(**arrays)


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    for name, axes in _IMAGES.items():
        value = arrays.get(name)
        if value is not None and (value.dtype != np.uint8 or value.ndim != axes or value.shape[-1] not in (1, 3)):
            wanted = f"{name} must be uint8 with {axes} axes and 1 or 3 channels"
            raise ValueError(f"{wanted}, got {value.dtype} {value.shape}")
    kinds = {"traversal_dims": (1, "iu"), "traversal_values": (1, "f"), "latent_labels": (1, "iu"), "latent": (2, "f")}
    for name, (axes, kind) in kinds.items():
        value = arrays.get(name)
        if value is not None and (value.ndim != axes or value.dtype.kind not in kind):
            raise ValueError(f"{name} must have {axes} axes of numbers, got {value.dtype} {value.shape}")
    if (method := arrays.get("latent_method")) is not None and str(method) not in ("z", "PCA"):
        raise ValueError(f"latent_method must be z or PCA, got {str(method)[:20]!r}")
    for one, other, axis in (
        ("originals", "reconstructions", 0),
        ("traversals", "traversal_dims", 0),
        ("traversals", "traversal_values", 1),
        ("latent", "latent_labels", 0),
    ):
        if one in arrays and other in arrays and arrays[one].shape[axis] != arrays[other].shape[0]:
            raise ValueError(f"{one} and {other} are not of the same number")
    if "latent" in arrays and arrays["latent"].shape[1] != 2:
        raise ValueError(f"latent must be [n, 2], got {arrays['latent'].shape}")
