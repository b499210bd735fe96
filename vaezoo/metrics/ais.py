"""Annealed importance sampling of log p(x) of test images."""

import math

import torch
from torch import Tensor

from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.ais import Annealing, ais
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.registry import register


@register.metric(
    "ais",
    paper="Neal (2001), arXiv:physics/9803008; Wu et al. (2017), arXiv:1611.04273",
    columns=(
        Column("ais", "ais (nats)", "nats", better=1),
        Column("ais_standard_error", "ais standard error (nats)"),
        Column("ais_iwll", "iwll of the ais images (nats)", "nats", better=1),
    ),
)
def annealed(
    model: LatentModel,
    images: Tensor,
    context: Evaluation,
    *,
    count: int = 100,
    chains: int = 16,
    temperatures: int = 200,
    leapfrogs: int = 8,
) -> dict[str, float | None]:
    """ais: the AIS estimate of log p(x) in nats, a lower bound in expectation, as a mean over the first `count` test
    images; ais_standard_error: the standard error of that mean over images; ais_iwll: the mean iwll of the same images,
    to compare with it, where iwll was measured before.
    """
    settings = Annealing(chains, temperatures, leapfrogs, context.seed)
    chosen = images[:count]
    value = torch.cat(
        [
            ais(
                model,
                chosen[rows],
                settings,
                context.index[rows],
                None if context.context is None else context.context[rows],
            )
            for rows in torch.split(torch.arange(len(chosen)), 100)
        ]
    )
    context.per_image["ais"] = value
    error = float(value.std() / math.sqrt(len(value))) if len(value) > 1 else None
    found: dict[str, float | None] = {"ais": float(value.mean()), "ais_standard_error": error}
    if "iwll" in context.per_image:
        found["ais_iwll"] = float(context.per_image["iwll"][: len(value)].mean())
    return found
