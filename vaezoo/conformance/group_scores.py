"""The proof that each entry of log q(z|x) and of log p(z) is that of its latent group."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from vaezoo.conformance.charts import Chart
from vaezoo.conformance.laws import in_each_volume, posterior_draws, sizes_of, small_model
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, keyed, rows
from vaezoo.conformance.verdict import NotRun, within_errors
from vaezoo.core.contracts import Latents, supports
from vaezoo.core.draws import Batch
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.model import LatentModel

WIDTHS = (0.15, 0.5)
"""Standard deviations of h, of the range in which 68 % of a group's samples lie."""

Scores = Callable[[Latents], Tensor]
"""Latents, each [N, Z_l] -> the scores of their groups [L, N]"""


@PROOFS.add("each group scored", "posterior", "prior", "variant")
def each_group(subject: Subject) -> str:
    """E_q[h(z_l) / (q_l(z_l) + h(z_l))] = E_h[q_l(y) / (q_l(y) + h(y))] for each latent group l, with q_l its density
    given its parents, and so of p: entry l of log q(z|x) and of log p(z) [L, K, B] is that of group l, top first.

    It holds from the top down and from the bottom up, for a normalised h of z_l alone. At 5 standard errors of 8 means:
    false alarm 1e-5.
    """
    if not subject.grouped:
        raise NotRun("it takes one latent group")
    model, batch = small_model(subject, sizes_of(subject, (1, 2)))
    figures = []
    for which in {"posterior": "q", "prior": "p"}.get(subject.plugin.slot, "qp"):
        kinds = supports(model.posterior_net if which == "q" else model.prior, 2)
        z, scores = (_of_q if which == "q" else _of_p)(model, rows(batch, slice(0, 1)), subject.count(40000))
        figures.append(in_each_volume(kinds, partial(_agree, which, kinds, z, scores)))
    return ", ".join(figures)


@torch.no_grad()
def _agree(which: str, kinds: tuple[str, ...], z: Latents, scores: Scores, hyperbolic: bool) -> str:
    """The figure of the worst group, with respect to one of the volumes."""
    own, worst = scores(z), 0.0
    for n, kind in enumerate(kinds):
        for width in WIDTHS:
            y, log_h_of_y, log_h_of_z = _proposed(kind, z[n], width, hyperbolic)
            other = scores((*z[:n], y, *z[n + 1 :]))[n]
            apart = (log_h_of_z - own[n]).sigmoid() - (other - log_h_of_y).sigmoid()
            error = float(apart.std() / math.sqrt(len(apart)))
            both = f"({which} + h)"
            what = f"E_{which}[h / {both}] - E_h[{which} / {both}] of group {n} by entry {n} of log {which}"
            within_errors(float(apart.mean()), 0.0, error, what)
            worst = max(worst, abs(float(apart.mean())) / max(error, 1e-12))
    return f"{which} {worst:.1f} s.e."


def _proposed(kind: str, z: Tensor, width: float, hyperbolic: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Draws y of an h about the median of a group's samples z [N, Z_l], and log h of y and of z. [N, Z_l], [N], [N]"""
    generator = torch.Generator().manual_seed(43)
    if kind == "discrete":
        codes = z.unique(dim=0)
        log_h = torch.full((len(z),), -math.log(len(codes)), dtype=z.dtype)
        return codes[torch.randint(len(codes), (len(z),), generator=generator)], log_h, log_h
    chart = Chart((kind,), (z,), hyperbolic)
    points = chart.coordinates((z,))
    lower, median, upper = torch.quantile(points, torch.tensor([0.16, 0.5, 0.84], dtype=points.dtype), dim=0)
    std = width * (upper - lower).clamp(min=1e-6)
    h = DiagonalGaussian(median, std.log())
    y = median + std * torch.randn(points.shape, generator=generator, dtype=points.dtype)
    log_h_of_y, log_h_of_z = (h.log_density(each) - chart.log_volume(each) for each in (y, points))
    return chart.latents(y)[0], log_h_of_y, log_h_of_z


def _of_q(model: LatentModel, one: Batch, count: int) -> tuple[Latents, Scores]:
    """Samples of q(z|x) of an image, and log q of given points; NotRun where it scores its own samples alone."""
    q, z, _ = posterior_draws(model, one, count)

    def scores(points: Latents) -> Tensor:
        """log q(z|x)"""
        value = q.log_prob(tuple(group[:, None] for group in points))
        if value is None:
            raise NotRun("it can score only its own samples")
        return value[:, :, 0]

    return tuple(group[:, 0] for group in z), scores


def _of_p(model: LatentModel, one: Batch, count: int) -> tuple[Latents, Scores]:
    """Samples of p(z), and log p of given points."""
    with torch.no_grad(), keyed(7, model):
        z = model.prior_sample(count, None if one.context is None else one.context.expand(count, -1))
    return z, lambda points: model.log_prior(one, tuple(group[:, None] for group in points))[:, :, 0]
