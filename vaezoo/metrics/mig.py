"""The mutual information gap."""

import numpy as np
from torch import Tensor

from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._factors import NO_FACTORS, CodesAndFactors, codes_and_factors
from vaezoo.registry import register


def entropy(counts: np.ndarray) -> float:
    """The entropy of the empirical distribution, in nats."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def information(codes: np.ndarray, factors: np.ndarray, bins: int) -> np.ndarray:
    """I(z_j; v_k) / H(v_k) of each code, cut into bins of equal width, and each factor. [N, Z], [N, F] -> [Z, F]"""
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for j, code in enumerate(codes.T):
        low, width = code.min(), np.ptp(code)
        cut = np.minimum((code - low) / (width or 1.0) * bins, bins - 1).astype(np.int64)
        for k, factor in enumerate(factors.T):
            table = np.zeros((bins, factor.max() + 1))
            np.add.at(table, (cut, factor), 1)
            by_factor = entropy(table.sum(0))
            found[j, k] = (entropy(table.sum(1)) + by_factor - entropy(table)) / by_factor
    return found


def mig_score(given: CodesAndFactors, bins: int) -> float:
    """The mean over factors of the largest minus the second largest share of a factor's entropy."""
    shares = np.sort(information(given.codes, given.factors, bins), 0)[::-1]
    second = shares[1] if len(shares) > 1 else 0.0
    return float((shares[0] - second).mean())


@register.metric(
    "mig",
    paper="Chen et al. (2018), arXiv:1802.04942",
    columns=(Column("mig", "MIG", better=1, ranked_by="data"),),
    labels=True,
)
def mig(model: LatentModel, images: Tensor, context: Evaluation, *, bins: int = 20) -> dict[str, float | None]:
    """mig = (1/F) sum_k (I(z_a; v_k) - I(z_b; v_k)) / H(v_k), where z_a knows most about the factor v_k and z_b second
    most: 0 for codes that know nothing, 1 where each factor has one code of its own.

    I is that of the empirical distribution of the factors and of E_q[z_j] in `bins` bins of equal width, as in
    Locatello et al. (2019), arXiv:1811.12359; its bias is that of all codes and falls as 1 / N. No number for a set
    without factors.
    """
    given = codes_and_factors(model, images, context)
    if given is None:
        context.notes["mig"] = NO_FACTORS
        return {"mig": None}
    return {"mig": mig_score(given, bins)}
