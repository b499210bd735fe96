"""The KL of each latent group and of each latent dimension."""

import math

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vaezoo.core import noise
from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._posterior import batches
from vaezoo.registry import register

GROUP = Column("kl_group_*", "kl of group * (nats)", "nats")
DIMENSIONS = (
    Column("kl_largest_dimension", "kl, largest dimension (nats)", "nats"),
    Column("kl_median_dimension", "kl, median dimension (nats)", "nats"),
    Column("kl_dimensions_for_90_percent", "dimensions for 90 % of kl", "count"),
)


@register.metric("kl-per-dimension", paper="Sønderby et al. (2016), arXiv:1602.02282", columns=(GROUP, *DIMENSIONS))
def kl_per_dimension(
    model: LatentModel, images: Tensor, context: Evaluation, *, samples: int = 64
) -> dict[str, float | None]:
    """KL_j = the mean over images of KL(q(z_j|x) || p(z_j)) of each group and dimension, in nats.

    kl_largest_dimension and kl_median_dimension: over all dimensions; kl_dimensions_for_90_percent: how many of the
    largest make up 90 % of the sum; kl_group_1, ..: the KL of each group of a hierarchy, top first. The groups sum to
    the whole KL in the mean, and a group's dimensions to the group's KL. context.vectors holds `kl_per_group` [L],
    `kl_per_dimension` [L, Z], largest first, and `kl_per_dimension_order` [L, Z], which dimension each of these is;
    a group of fewer dimensions than the largest is filled with NaN and -1.

    Without a closed form a group's KL is the mean of log q - log p over `samples` draws, and its dimensions have none.
    """
    groups: list[Tensor] = []
    dimensions: list[tuple[Tensor, ...]] = []
    with evaluating(model):
        for batch in batches(model, images, context):
            with noise.stream(noise.derive(context.seed, "kl-per-dimension"), index=batch.index, dtype=model.dtype):
                draws = model.draw(batch, samples)
                if draws.kl is None:
                    groups.append((draws.log_posterior - draws.log_prior).double().mean(1))
                else:
                    dimensions.append(tuple(each.double().sum(0) for each in draws.kl))
                    groups.append(torch.stack([each.double().sum(1) for each in draws.kl]))
    per_group = torch.cat(groups, 1).mean(1).cpu()
    context.vectors["kl_per_group"] = per_group
    found: dict[str, float | None] = {}
    if len(per_group) > 1:
        found = {f"kl_group_{number}": float(value) for number, value in enumerate(per_group, start=1)}
    if not dimensions:
        names = [column.name for column in DIMENSIONS]
        context.notes |= dict.fromkeys(names, "the prior has no closed-form KL from this posterior")
        return found | dict.fromkeys(names)
    means = [torch.stack(each).sum(0).cpu() / len(images) for each in zip(*dimensions, strict=True)]
    ordered = [each.sort(descending=True) for each in means]
    context.vectors |= {
        "kl_per_dimension": pad_sequence([each.values for each in ordered], True, math.nan),
        "kl_per_dimension_order": pad_sequence([each.indices for each in ordered], True, -1),
    }
    every = torch.cat(means).sort(descending=True).values
    below = every.cumsum(0) < 0.9 * every.sum()
    return found | {
        "kl_largest_dimension": float(every[0]),
        "kl_median_dimension": float(every.quantile(0.5)),
        "kl_dimensions_for_90_percent": int(below.sum()) + 1 if float(every.sum()) > 0 else 0,
    }
