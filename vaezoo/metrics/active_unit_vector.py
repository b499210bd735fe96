"""How much each latent dimension varies with the image: the whole vector, and how many exceed several thresholds."""

from torch import Tensor

from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._posterior import mean_variances
from vaezoo.registry import register


@register.metric(
    "active-unit-vector",
    paper="Burda et al. (2016), arXiv:1509.00519",
    columns=(Column("active_units_over_*", "active units over *", "count"),),
)
def active_unit_vector(
    model: LatentModel,
    images: Tensor,
    context: Evaluation,
    *,
    thresholds: tuple[float, ...] = (0.001, 0.01, 0.1),
    samples: int = 64,
) -> dict[str, float | None]:
    """active_units_over_t: how many dimensions j have Var_x(E_q[z_j]) > t, for each threshold t; at 0.01 it equals
    `active-units`. A count that changes much with the threshold says little about the model.

    context.vectors holds `mean_variances` [Z], largest first, and `mean_variances_order` [Z], which dimension each is.
    E_q[z_j] is the mean of a Gaussian posterior, else that of `samples` draws.
    """
    largest, order = mean_variances(model, images, context, samples).sort(descending=True)
    context.vectors |= {"mean_variances": largest, "mean_variances_order": order}
    return {f"active_units_over_{threshold:g}": int((largest > threshold).sum()) for threshold in thresholds}
