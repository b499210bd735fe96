"""How far the error of a prior's estimated normaliser moves all log-likelihoods alike."""

from torch import Tensor

from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.registry import register


@register.metric(
    "prior-mass-error",
    paper="Bauer and Mnih (2019), arXiv:1810.11428",
    columns=(Column("prior_mass_error", "error of log of p(z)'s integral (nats)", "nats"),),
)
def prior_mass_error(model: LatentModel, images: Tensor, context: Evaluation) -> dict[str, float | None]:
    """prior_mass_error: the standard error of log of the integral of p(z), in nats, as the prior's method
    `log_mass_error()` gives it.

    It is an error of log p(x) that is the same for all images and that no other standard error of the record holds.
    None, with a note, for a prior without that method, whose density needs no estimate.
    """
    estimate = getattr(model.prior, "log_mass_error", None)
    if estimate is None:
        context.notes["prior_mass_error"] = "the prior's density holds no estimate"
        return {"prior_mass_error": None}
    with evaluating(model):
        return {"prior_mass_error": float(estimate())}
