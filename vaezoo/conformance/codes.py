"""Sums over discrete codes, in place of integrals over a grid."""

import math

import torch
from torch import Tensor

from vaezoo.conformance.grid import Density, same_frequencies
from vaezoo.conformance.verdict import NotRun, must

UNSEEN = 0.01
"""The largest probability of codes that were never drawn, by the Good-Turing estimate, with which a sum decides."""


class Codes:
    """The distinct codes among samples [N, D] of a discrete distribution, how often each came, and its probability."""

    def __init__(self, density: Density, samples: Tensor):
        self.rows, self.counts = samples.unique(dim=0, return_counts=True)
        self.drawn = len(samples)
        self.probability = density(self.rows).exp()

    @property
    def unseen(self) -> float:
        """The Good-Turing estimate of the probability of all other codes: the share of codes that came once."""
        return float((self.counts == 1).sum()) / self.drawn

    def total(self, what: str) -> str:
        """The sum of p over the codes. Wrong where it is above 1, or below it by more than unseen codes can have: by
        twice their estimate and 6 of its standard errors, which a right one exceeds once in 1e6.
        """
        if self.unseen > UNSEEN:
            raise NotRun(f"undecided: the sum over {len(self.rows)} codes leaves about {self.unseen:.2g} unseen")
        total = float(self.probability.sum())
        slack = 2 * self.unseen + 6 * math.sqrt(max(self.unseen, 1 / self.drawn) / self.drawn) + 5 / self.drawn
        right = 1 - slack <= total <= 1 + 1e-6
        detail = f"{what}: expected 1 - {slack:.1g} to 1, found {total:.6g} over {len(self.rows)} codes"
        return must(right, f"{total:.4g}", detail)

    def same_frequencies(self) -> str:
        """How often each code came against its probability: chi-square, false alarm 1e-6."""
        return same_frequencies(self.counts.double(), self.probability * self.drawn, self.drawn)


class Coins:
    """h(z): independent columns of two values each, with the frequencies of samples [N, D]. NotRun for other codes."""

    def __init__(self, samples: Tensor):
        self.low, self.high = samples.amin(0), samples.amax(0)
        two = ((samples == self.low) | (samples == self.high)).all()
        if not bool(two) or float(samples.sum(-1).std()) == 0:
            raise NotRun("undecided: its codes are too many for a sum, and no columns of two values")
        share = (samples == self.high).double().mean(0)
        self.share = share.clamp(0.5 / len(samples), 1 - 0.5 / len(samples))

    def log_density(self, points: Tensor) -> Tensor:
        """log h(z). [N, D] -> [N]"""
        return torch.where(points == self.high, self.share.log(), torch.log1p(-self.share)).sum(-1)

    def sample(self, count: int) -> Tensor:
        """Draws from h. [count, D]"""
        generator = torch.Generator().manual_seed(0)
        uniform = torch.rand(count, len(self.share), generator=generator, dtype=self.share.dtype)
        return torch.where(uniform < self.share, self.high, self.low)
