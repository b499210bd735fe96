"""Bounds on the error of the importance-weighted estimate, on images simulated from the model."""

import math

import torch
from torch import Tensor

from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.ais import Annealing, bdmc
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.registry import register


@register.metric(
    "ais-gap",
    paper="Grosse et al. (2015), arXiv:1511.02543",
    columns=(
        Column("ais_gap", "ais gap (nats)", "nats"),
        Column("iwll_gap", "iwll gap (nats)", "nats"),
        Column("iwll_gap_standard_error", "iwll gap standard error (nats)"),
    ),
)
def ais_gap(
    model: LatentModel,
    images: Tensor,
    context: Evaluation,
    *,
    count: int = 100,
    chains: int = 16,
    temperatures: int = 200,
    leapfrogs: int = 8,
) -> dict[str, float | None]:
    """Bidirectional Monte Carlo on `count` images simulated from the model, in nats an image.

    ais_gap: mean upper bound minus mean lower bound; the true log p(x) lies between them. iwll_gap: mean upper bound
    minus mean iwll of the same images, the most that iwll falls short on this model's own images;
    iwll_gap_standard_error: the standard error of that mean over images.
    """
    seen = None if context.context is None else context.context[torch.arange(count) % len(context.context)]
    found = bdmc(model, count, Annealing(chains, temperatures, leapfrogs, context.seed), seen)
    estimate = log_likelihood(model, found.x, context.importance_samples, context.seed, context=seen).estimate
    gap = found.upper - estimate
    return {
        "ais_gap": float((found.upper - found.lower).mean()),
        "iwll_gap": float(gap.mean()),
        "iwll_gap_standard_error": float(gap.std() / math.sqrt(len(gap))) if len(gap) > 1 else None,
    }
