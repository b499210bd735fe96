"""Context as further channels of an image."""

from dataclasses import replace

import torch
from torch import Tensor

from vaezoo.core.data import DataSpec


def with_channels(spec: DataSpec) -> DataSpec:
    """The spec of an image [C, H, W] with its context as further channels, [C + C', H, W]; others as they are."""
    if len(spec.shape) != 3 or spec.context is None:
        return spec
    return replace(spec, shape=(spec.shape[0] + spec.context, *spec.shape[1:]))


def as_channels(x: Tensor, context: Tensor) -> Tensor:
    """Images with their context as further channels, the same number at each pixel. [B, C, H, W], [B, C'] ->
    [B, C + C', H, W]
    """
    return torch.cat([x, context[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)
