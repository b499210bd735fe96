"""The number of latent dimensions in use."""

from torch import Tensor

from vaezoo.core.columns import standard
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._posterior import mean_variances
from vaezoo.registry import register


@register.metric("active-units", paper="Burda et al. (2016), arXiv:1509.00519", columns=standard("active_units"))
def active_units(
    model: LatentModel, images: Tensor, context: Evaluation, *, threshold: float = 0.01, samples: int = 64
) -> dict[str, float | None]:
    """active_units: the number of latent dimensions j with Var_x(E_q[z_j]) > threshold; the variance is over images.

    E_q[z_j] is the mean of a Gaussian posterior, else that of `samples` draws.
    """
    return {"active_units": int((mean_variances(model, images, context, samples) > threshold).sum())}
