"""How much each latent dimension varies with the image: the whole vector, and how many pass several thresholds."""

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._batches import batches
from vaezoo.metrics.active_units import _means
from vaezoo.registry import register


def mean_variances(model: LatentModel, images: Tensor, context: Evaluation, samples: int) -> Tensor:
    """Var_x(E_q[z_j]) of every dimension of all groups, from the numbers that `active-units` counts. [Z], float64"""
    means = []
    with evaluating(model):
        for batch in batches(model, images, context):
            with noise.stream(noise.derive(context.seed, "active-units"), index=batch.index, dtype=model.dtype):
                means.append(_means(model.posterior(batch), samples))
    return torch.cat(means).double().var(0).cpu()


@register.metric("active-unit-vector", paper="Burda et al. (2016), arXiv:1509.00519")
def active_unit_vector(
    model: LatentModel,
    images: Tensor,
    context: Evaluation,
    *,
    thresholds: tuple[float, ...] = (0.001, 0.01, 0.1),
    samples: int = 64,
) -> dict[str, float | None]:
    """active_units_over_t: how many dimensions j have Var_x(E_q[z_j]) > t, for each threshold t; at 0.01 it equals
    `active-units`. A count that hangs on the threshold is no property of the model.

    context.vectors holds `mean_variances` [Z], largest first, and `mean_variances_order` [Z], which dimension each is.
    E_q[z_j] is the mean of a Gaussian posterior, else that of `samples` draws.
    """
    largest, order = mean_variances(model, images, context, samples).sort(descending=True)
    context.vectors |= {"mean_variances": largest, "mean_variances_order": order}
    return {f"active_units_over_{threshold:g}": int((largest > threshold).sum()) for threshold in thresholds}
