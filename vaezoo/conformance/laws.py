"""The law of a prior or of a posterior as proofs see it: its log density at points, and samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vaezoo.conformance.charts import Chart
from vaezoo.conformance.grid import Density
from vaezoo.conformance.subject import Subject, keyed, rows
from vaezoo.conformance.verdict import NotRun, Wrong
from vaezoo.core.contracts import Latents, PosteriorDistribution, supports
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel

BLOCK = 20000
"""Samples drawn at a time."""
SCORED = 5000
"""Points that are scored at a time: a prior may have many components."""


@dataclass(frozen=True)
class Law:
    """A distribution of the latents, in the coordinates of a chart, or of codes where all groups are discrete.

    density: log density of points [N, d]. samples: [N, d].
    """

    density: Density
    samples: Tensor
    discrete: bool = False


def sizes_of(subject: Subject, dimensions: int | tuple[int, ...]) -> tuple[int, ...]:
    """The size of each latent group that has these coordinates: a sphere needs one dimension more."""
    sizes = dimensions if isinstance(dimensions, tuple) else subject.latents(dimensions)
    kinds = supports(subject.build()[0].prior, len(sizes))
    if len(kinds) != len(sizes):
        raise NotRun(f"its support is that of {len(kinds)} latent groups")
    return tuple(size + (kind == "sphere") for size, kind in zip(sizes, kinds, strict=True))


def small_model(subject: Subject, latents: int | tuple[int, ...]) -> tuple[LatentModel, Batch]:
    """A model in float64 and eval mode with few components and other hyper-parameters than the defaults, and a batch of
    three images.
    """
    model = subject.build(latent=latents, double=True, altered=True, few=True)[0].eval()
    return model, subject.batch(model)


def in_each_volume(kinds: tuple[str, ...], prove: Callable[[bool], str]) -> str:
    """Carry out a proof with respect to the flat volume, and where a ball fails it, to that of the Poincare ball."""
    try:
        return prove(False)
    except Wrong as wrong:
        if "ball" not in kinds:
            raise
        try:
            return prove(True)
        except Wrong:
            raise wrong from None


def law_of(
    kinds: tuple[str, ...], z: Latents, log_density: Callable[[Latents], Tensor], hyperbolic: bool = False
) -> Law:
    """The law of samples [N, Z_l] of each group, whose log density at other points is [N]."""
    if all(kind == "discrete" for kind in kinds):
        sizes = [group.shape[-1] for group in z]
        return Law(_in_pieces(lambda points: log_density(points.split(sizes, -1))), torch.cat(z, -1), discrete=True)
    chart = Chart(kinds, z, hyperbolic)
    density = _in_pieces(lambda y: log_density(chart.latents(y)) + chart.log_volume(y))
    return Law(density, chart.coordinates(z))


def prior_law(
    model: LatentModel, batch: Batch, count: int, *, training: bool = False, hyperbolic: bool = False, seed: int = 7
) -> Law:
    """The law of p(z), of the batch's first context. training: the density of its first image in training.

    The samples are drawn in turns with those of the second context.
    """
    one = rows(batch, slice(0, 1))
    with torch.no_grad(), keyed(seed, model):
        if batch.context is None:
            z = model.prior_sample(count)
        else:
            turns = batch.context[[1, 0]].repeat(count, 1)
            z = tuple(group[1::2] for group in model.prior_sample(2 * count, turns))

    def log_density(groups: Latents) -> Tensor:
        """log p(z), summed over the groups."""
        return model.log_prior(one, tuple(group[:, None] for group in groups)).sum(0)[:, 0]

    if training and one.progress is None:
        one = Batch(one.x, one.context, one.index, one.x.new_full((), 0.5))
    return law_of(supports(model.prior, len(z)), z, log_density, hyperbolic)


def posterior_law(
    model: LatentModel, batch: Batch, image: int, z: Latents, log_q: Tensor, hyperbolic: bool = False
) -> Law:
    """The law of q(z|x) of one image of a batch. z, log_q: draws of all its images, [K, B, Z_l] and [L, K, B]."""
    one = rows(batch, slice(image, image + 1))
    with torch.no_grad(), keyed(13, model, one):
        q: PosteriorDistribution = model.posterior(one)

    def log_density(groups: Latents) -> Tensor:
        """log q(z|x), summed over the groups."""
        value = q.log_prob(tuple(group[:, None] for group in groups))
        if value is None:
            raise NotRun("it can score only its own samples: see E[h/q]")
        return value.sum(0)[:, 0]

    return law_of(supports(model.posterior_net, len(z)), tuple(group[:, image] for group in z), log_density, hyperbolic)


def posterior_draws(model: LatentModel, batch: Batch, count: int) -> tuple[PosteriorDistribution, Latents, Tensor]:
    """q(z|x) of a batch, K samples of each image and their log q [L, K, B], drawn in blocks."""
    groups, log_q = [], []
    with torch.no_grad():
        with keyed(13, model, batch):
            q = model.posterior(batch)
        for first in range(0, count, BLOCK):
            with keyed(17, model, batch, first=first):
                draws = model.draw_from(q, batch, min(BLOCK, count - first))
            groups.append(draws.z)
            log_q.append(draws.log_posterior)
    return q, tuple(torch.cat(blocks) for blocks in zip(*groups, strict=True)), torch.cat(log_q, 1)


def _in_pieces(density: Density) -> Density:
    """The same density, without gradients and of SCORED points at a time."""

    def value(points: Tensor) -> Tensor:
        """log density. [N, d] -> [N]"""
        with torch.no_grad():
            return torch.cat([density(piece) for piece in points.split(SCORED)])

    return value
