"""Counts from a planted model of low rank, like those of genes in cells. Its parameters are known."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.registry import register

SPREAD = 0.3
"""The standard deviation of the log of the library size."""
BLOCK = 2000
"""Images drawn at once."""


@dataclass(frozen=True)
class CountModel:
    """x_g ~ NB(mean l exp(b_g + W_g z), dispersion r_g), or 0 with a further probability, with z standard normal and
    log l ~ N(log_library, SPREAD^2).

    weights W [D, Z], offset b [D], dispersion r [D], all float64. zero_inflation: that probability.
    """

    weights: Tensor
    offset: Tensor
    dispersion: Tensor
    log_library: float
    zero_inflation: float

    def mean(self, z: Tensor, log_library: Tensor) -> Tensor:
        """E[x|z, l]. z [N, Z], log l [N, 1] -> [N, D]"""
        rate: Tensor = (log_library + self.offset + z @ self.weights.T).exp()
        return (1 - self.zero_inflation) * rate

    def draw(self, seed: int, split: str, images: int) -> tuple[Tensor, Tensor, Tensor]:
        """Counts int64 [N, D], z float64 [N, Z] and log l float64 [N, 1], keyed by image: more images do not change the
        first ones.
        """
        found = []
        for index in torch.arange(images, device="cpu").split(BLOCK):
            key = noise.derive(seed, "simulated-counts", split)
            with noise.stream(key, index=index, dtype=torch.float64):
                found.append(self._block(len(index)))
        counts, z, log_library = (torch.cat(each) for each in zip(*found, strict=True))
        return counts, z, log_library

    def _block(self, images: int) -> tuple[Tensor, Tensor, Tensor]:
        genes, latents = self.weights.shape
        both = noise.normal(1, images, latents + 1)[0]
        z, log_library = both[:, :latents], self.log_library + SPREAD * both[:, latents:]
        rate = (log_library + self.offset + z @ self.weights.T).exp()
        r = self.dispersion.expand(1, images, -1)
        counts = noise.poisson(rate * noise.gamma(r) / r)[0]
        kept = noise.uniform(1, images, genes)[0] >= self.zero_inflation
        return (counts * kept).long(), z, log_library


def planted(seed: int, genes: int, latents: int, depth: float, zero_inflation: float) -> CountModel:
    """The true parameters of a seed. W has independent normal entries of standard deviation 0.7 / sqrt(latents); the
    shares exp(b_g) sum to 1, their logarithms spread by 1; log r_g ~ N(0.5, 0.5^2); a library of `depth` a gene.
    """
    with noise.stream(noise.derive(seed, "simulated-counts", "model"), index=torch.arange(genes), dtype=torch.float64):
        each = noise.normal(1, genes, latents + 2)[0]
    offset = each[:, latents].log_softmax(0)
    dispersion = (0.5 + 0.5 * each[:, latents + 1]).exp()
    weights = 0.7 / math.sqrt(latents) * each[:, :latents]
    return CountModel(weights, offset, dispersion, math.log(depth * genes), zero_inflation)


@register.dataset("simulated-counts", paper="Lopez et al. (2018), scVI, doi:10.1038/s41592-018-0229-2, as its model")
def simulated_counts(
    root: Path,
    seed: int,
    *,
    genes: int = 50,
    latents: int = 3,
    depth: float = 5.0,
    zero_inflation: float = 0.0,
    images: int = 5000,
    context: Literal["library"] | None = None,
) -> Dataset:
    """Counts of `genes` genes in each cell (counts), shape (genes,), drawn from a CountModel of each seed's own.

    latents: Z of that model. depth: the median library size is depth times genes, so that a gene has about `depth`
    counts. zero_inflation: the probability that a count is lost. images: of training; validation and test have 1,000
    each. context: "library" gives the log of each cell's true library size, [N, 1], the offset that the likelihoods of
    counts take.

    Raises VaezooError for a number outside its range.
    """
    for name, value, least in (("genes", genes, 1), ("latents", latents, 1), ("images", images, 1)):
        if value < least:
            raise VaezooError(f"{name} must be {least} or more, got {value}")
    if not 0 < depth <= 1e4:
        raise VaezooError(f"depth must lie above 0 and up to 10,000 counts a gene, got {depth:g}")
    if not 0 <= zero_inflation < 1:
        raise VaezooError(f"zero_inflation is a probability below 1, got {zero_inflation:g}")
    model = planted(seed, genes, latents, depth, zero_inflation)

    def drawn(split: str, count: int) -> tuple[Tensor, None, Tensor | None]:
        """Counts and context of a split."""
        counts, _, log_library = model.draw(seed, split, count)
        return counts, None, None if context is None else log_library.to(torch.float32)

    return Dataset(drawn("train", images), drawn("valid", 1000), drawn("test", 1000), measure="counts")
