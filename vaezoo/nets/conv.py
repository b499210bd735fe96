"""Sizes that convolutional encoders and decoders share."""


def halved(size: int, times: int) -> list[int]:
    """The side lengths of an image under `times` convolutions of stride 2: [size, ceil(size / 2), ...].

    >>> halved(28, 2)
    [28, 14, 7]
    """
    sides = [size]
    for _ in range(times):
        sides.append((sides[-1] + 1) // 2)
    return sides
