"""Log-likelihood, ELBO and its two terms, from one pass of the estimator."""

import math

from torch import Tensor

from vaezoo.core.columns import standard
from vaezoo.core.data import DataSpec
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.evaluation.pareto import FEWEST
from vaezoo.registry import register


def bits_per_dimension(nats: float, spec: DataSpec) -> float | None:
    """-nats / (D ln 2) of a log-likelihood in nats an image; None where the images are neither binary nor discrete.

    For continuous images dequantised from `levels` levels, log2(levels) is added: the result is a bound on the bits of
    the discrete images (Theis et al. 2016, arXiv:1511.01844).
    """
    if spec.measure not in ("binary", "discrete") and spec.levels is None:
        return None
    quantisation = math.log2(spec.levels) if spec.measure == "continuous" and spec.levels else 0.0
    return -nats / (spec.dimensions * math.log(2)) + quantisation


@register.metric(
    "likelihood",
    paper="Burda et al. (2016), arXiv:1509.00519",
    columns=standard(
        *("iwll", "iwll_standard_error", "effective_samples", "pareto_k"),
        *("elbo", "kl", "reconstruction", "bits_per_dim"),
    ),
)
def likelihood(model: LatentModel, images: Tensor, context: Evaluation) -> dict[str, float | None]:
    """iwll, elbo, reconstruction and kl in nats an image, and bits_per_dim, with iwll's Monte-Carlo standard error.

    reconstruction = elbo + kl. iwll_standard_error is the Monte-Carlo standard error of the mean iwll over images;
    effective_samples is the mean over images. pareto_k is the k-hat that 95 % of the images do not exceed: above 0.7
    the iwll is a lower bound and iwll_standard_error too small. It has no number for K below 225 and where q is exact.
    """
    samples, seen = context.importance_samples, context.context
    estimate = log_likelihood(model, images, samples, context.seed, context=seen, index=context.index)
    context.per_image |= {
        "iwll": estimate.estimate,
        "iwll_standard_error": estimate.standard_error,
        "effective_samples": estimate.effective_samples,
        "pareto_k": estimate.pareto_k,
        "elbo": estimate.elbo,
        "reconstruction": estimate.reconstruction,
    }
    iwll, pareto_k = float(estimate.estimate.mean()), estimate.pareto_k_95
    if not math.isfinite(pareto_k):
        context.notes["pareto_k"] = (
            f"K = {samples:,} samples are too few for Pareto k; take {FEWEST} or more"
            if math.isnan(pareto_k)
            else "the importance weights of 95 % of the images do not differ: q is exact"
        )
    return {
        "elbo": float(estimate.elbo.mean()),
        "iwll": iwll,
        "kl": float(estimate.kl.mean()),
        "reconstruction": float(estimate.reconstruction.mean()),
        "bits_per_dim": bits_per_dimension(iwll, model.spec),
        "iwll_standard_error": float(estimate.standard_error.square().sum().sqrt() / len(images)),
        "effective_samples": float(estimate.effective_samples.mean()),
        "pareto_k": pareto_k if math.isfinite(pareto_k) else None,
    }
