"""The separated attribute predictability score."""

import numpy as np
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._factors import NO_FACTORS, CodesAndFactors, codes_and_factors, over_chance
from vaezoo.registry import register


def squared_correlation(code: np.ndarray, factor: np.ndarray) -> float:
    """R^2 of the linear regression of a factor on a code; 0 for a constant. [N], [N]"""
    if not np.ptp(code) or not np.ptp(factor):
        return 0.0
    return float(np.corrcoef(code, factor)[0, 1] ** 2)


def by_thresholds(
    code: np.ndarray, factor: np.ndarray, other_code: np.ndarray, other_factor: np.ndarray, values: int
) -> float:
    """The balanced accuracy on the others of values - 1 thresholds on a code, as the share of what chance leaves."""
    from sklearn.metrics import recall_score
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=values, class_weight="balanced", random_state=0)
    found = tree.fit(code[:, None], factor).predict(other_code[:, None])
    recall = recall_score(other_factor, found, labels=np.unique(other_factor), average="macro", zero_division=0)
    return over_chance(float(recall), values)


def sap_score(given: CodesAndFactors, classes: int, seed: int) -> float:
    """The mean over factors of the best code's score minus the second best one's."""
    one, other = given.halves(seed)
    gaps = []
    for k, values in enumerate(given.values):
        if values > classes:
            scores = [squared_correlation(code, given.factors[:, k]) for code in given.codes.T]
        else:
            pairs = zip(one.codes.T, other.codes.T, strict=True)
            scores = [by_thresholds(a, one.factors[:, k], b, other.factors[:, k], values) for a, b in pairs]
        best = sorted([max(score, 0.0) for score in scores] + [0.0], reverse=True)
        gaps.append(best[0] - best[1])
    return float(np.mean(gaps))


@register.metric(
    "sap",
    paper="Kumar et al. (2018), arXiv:1711.00848",
    columns=(Column("sap", "SAP", better=1, ranked_by="data"),),
    labels=True,
)
def sap(model: LatentModel, images: Tensor, context: Evaluation, *, classes: int = 10) -> dict[str, float | None]:
    """sap = (1/F) sum_k (S_ak - S_bk), where S_jk says how well E_q[z_j] alone predicts the factor v_k, z_a best and
    z_b second best: 0 for codes that know nothing, 1 where each factor has one code of its own.

    For a factor of more than `classes` values S is the squared correlation with the number of its value. For others S
    is the balanced accuracy of thresholds on z_j, fitted to one half of the images and taken on the other, as the share
    of what chance leaves (the paper's is not; so its largest sap is 1 - 1 / values). No number for a set without
    factors.
    """
    given = codes_and_factors(model, images, context)
    if given is None:
        context.notes["sap"] = NO_FACTORS
        return {"sap": None}
    return {"sap": sap_score(given, classes, noise.derive(context.seed, "sap"))}
