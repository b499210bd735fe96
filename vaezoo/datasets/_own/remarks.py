"""What a user should know of continuous data before training, in one line: scales, digits, noise."""

import math

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError

ROWS = 10_000
"""Training images that are looked at."""
SPREADS, SCALE, DIGITS = 1e3, 10.0, 1e5
"""Ratios that are worth a line: of the columns' spreads, of all values to 1, of a column's mean to its spread."""
GRID = 2.0**15
"""The noise lies on this grid, so that float32 holds level and noise exactly."""
BLOCK = 4096
NEAR = 0.02
"""How far k / levels may be from a level, in levels."""


def of_scale(train: Tensor, source: str) -> list[str]:
    """A line where columns differ much in spread, or all values are far from the unit scale, or lie so close together
    that float32 rounds them away. train: continuous images that are not standardised.
    """
    x = train[:ROWS].double()
    low, high = float(x.min()), float(x.max())
    spread, advice = x.std(0, correction=0), "standardise = true"
    if x.ndim == 2:
        lost = int((x.mean(0).abs() > DIGITS * spread.clamp(min=1e-300)).logical_and(spread > 0).sum())
        if lost:
            return [
                f"{source}: {lost} columns vary by less than 1e-5 of their mean, which float32 rounds; {advice} helps"
            ]
        varied = spread[spread > 0]
        ratio = float(varied.max() / varied.min()) if len(varied) else 1.0
        if ratio > SPREADS:
            return [f"{source}: columns differ 1e{round(math.log10(ratio))}-fold in spread; {advice} scales them"]
    deviation = float(x.std(correction=0))
    if deviation > SCALE or 0 < deviation < 1 / SPREADS:
        return [f"{source}: values are {low:g}..{high:g}, far from the unit scale of networks; {advice} scales them"]
    return []


def refuse_levels_without_noise(train: Tensor, levels: int, source: str) -> None:
    """Raise VaezooError where images that should be dequantised hold their levels alone, whose density is unbounded."""
    x = train[:ROWS].double()
    whole = any(bool(((x * top - (x * top).round()).abs() <= NEAR).all()) for top in (levels, levels - 1))
    if whole or (x.numel() >= 4 * levels and len(x.unique()) <= levels):
        raise VaezooError(
            f"{source} holds levels alone, as k / {levels - 1}, whose density has no bound: say dequantise = true "
            f"(noise within each level), or measure = 'discrete' with levels = {levels}"
        )


def dequantised(x: Tensor, levels: int, seed: int, split: str, found: Tensor) -> Tensor:
    """(k + u) / levels with u uniform in [0, 1), drawn once for each seed, into `found` (float32). x: levels k."""
    for index in torch.arange(len(x), device="cpu").split(BLOCK):
        with noise.stream(noise.derive(seed, "dequantisation", split), index=index, dtype=torch.float64):
            u = noise.uniform(1, len(index), *x.shape[1:])[0]
        found[index] = ((x[index] + ((u * GRID).floor() + 0.5) / GRID) / levels).to(torch.float32)
    return found
