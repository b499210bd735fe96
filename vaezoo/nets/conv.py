"""Sizes that convolutional encoders and decoders share."""

from collections.abc import Sequence

from vaezoo.core.errors import VaezooError


def halved(size: int, times: int) -> list[int]:
    """The side lengths of an image under `times` convolutions of stride 2: [size, ceil(size / 2), ...].

    >>> halved(28, 2)
    [28, 14, 7]
    """
    sides = [size]
    for _ in range(times):
        sides.append((sides[-1] + 1) // 2)
    return sides


def check_channels(channels: Sequence[int]) -> None:
    """Raise VaezooError where a list of channels is empty or has a number below 1."""
    if not channels or min(channels) < 1:
        raise VaezooError(f"channels must be one or more whole numbers >= 1, got {list(channels)}")
