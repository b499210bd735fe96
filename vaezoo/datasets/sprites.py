"""Sprites: images drawn from five known factors, for measures of disentanglement."""

import math
from pathlib import Path

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.registry import register

SIDE = 32
FACTORS = {"shape": 3, "scale": 6, "rotation": 20, "x": 16, "y": 16}
"""The factors in the order of the labels, and how many values each has."""
COMBINATIONS = math.prod(FACTORS.values())
VALID, TEST = 2000, 5000
RADII = (4.53, 7.97)
"""The radius of the circle around a sprite at the smallest and at the largest scale, in pixels."""
START = 0.1
"""The first rotation in radians. Here no edge of a sprite runs through the middle of a pixel."""
REACH = 8
"""Pixels from the middle of a sprite to the edge of its stamp."""


def inside(u: Tensor, v: Tensor) -> Tensor:
    """How far points lie inside each shape: above 0 inside, below 0 outside. Each shape fits into the unit circle and
    looks different at every rotation: a half disc, a triangle with two equal sides, and a heart. [...] -> [3, ...]
    """
    half_disc = torch.minimum(0.9 - u.square() - (v - 0.3).square(), 0.3 - v)
    triangle = torch.minimum((v + 0.95) * 0.35 - u.abs(), 0.8 - v)
    a, b = 1.35 * u, 0.1 - 1.35 * v
    heart = a.square() * b.pow(3) - (a.square() + b.square() - 1).pow(3)
    return torch.stack([half_disc, triangle, heart])


def stamps() -> Tensor:
    """Each shape at each scale and rotation, around the middle of a square of 17 x 17. uint8 [3, 6, 20, 17, 17]"""
    place = torch.arange(-REACH, REACH + 1, dtype=torch.float64)
    radius = torch.linspace(*RADII, FACTORS["scale"], dtype=torch.float64)[:, None, None, None]
    turns = torch.arange(FACTORS["rotation"], dtype=torch.float64) / FACTORS["rotation"]
    angle = (START + 2 * math.pi * turns)[None, :, None, None]
    down, right = place[:, None] / radius, place[None, :] / radius
    u, v = right * angle.cos() + down * angle.sin(), down * angle.cos() - right * angle.sin()
    return (inside(u, v) > 0).to(torch.uint8)


def factors_of(number: Tensor) -> Tensor:
    """The values of the factors of combinations 0 .. COMBINATIONS - 1. int64 [N] -> [N, 5]"""
    values = []
    for size in reversed(FACTORS.values()):
        values.append(number % size)
        number = number // size
    return torch.stack(values[::-1], -1)


def rendered(factors: Tensor) -> Tensor:
    """The image of each row of factors: a stamp, moved by whole pixels. int64 [N, 5] -> uint8 [N, 1, SIDE, SIDE]"""
    shape, scale, rotation, x, y = factors.unbind(-1)
    stamp = stamps()[shape, scale, rotation]
    images = torch.zeros(len(factors), SIDE, SIDE, dtype=torch.uint8)
    across = torch.arange(2 * REACH + 1)
    rows, columns = y[:, None] + across, x[:, None] + across
    images[torch.arange(len(factors))[:, None, None], rows[:, :, None], columns[:, None, :]] = stamp
    return images[:, None]


@register.dataset("sprites", paper="after Matthey et al. (2017), dSprites; drawn anew")
def sprites(root: Path, seed: int, *, images: int = 20_000) -> Dataset:
    """Binary images (1, 32, 32) of one sprite. Their labels are its factors, int64 [N, 5]: shape (3 values), scale (6),
    rotation (20), x (16) and y (16).

    images: of training, chosen by the seed; validation has 2,000 and test 5,000, the same for every seed. Each image
    has a combination of its own, of all 92,160. No shape looks the same at two rotations, which the squares and
    ellipses of dSprites do. The metrics `mig`, `sap`, `dci` and `factor-vae-score` read the factors. Raises VaezooError
    for another number of images.
    """
    most = COMBINATIONS - VALID - TEST
    if not 1 <= images <= most:
        raise VaezooError(f"images must be 1..{most}, got {images}")
    test, valid, rest = _shuffled(torch.arange(COMBINATIONS, device="cpu"), 0, "split").split([TEST, VALID, most])
    numbers = _shuffled(rest, seed, "train")[:images], valid, test
    train, valid, test = (factors_of(each) for each in numbers)
    return Dataset((rendered(train), train), (rendered(valid), valid), (rendered(test), test), measure="binary")


def _shuffled(numbers: Tensor, seed: int, axis: str) -> Tensor:
    """The numbers in an order that the seed decides. int64 [N]"""
    return numbers[noise.mix(numbers + noise.derive(seed, "sprites", axis)).argsort()]
