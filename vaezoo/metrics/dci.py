"""Disentanglement, completeness and informativeness."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._factors import NO_FACTORS, CodesAndFactors, codes_and_factors, over_chance
from vaezoo.registry import register

COLUMNS = (
    Column("dci_disentanglement", "DCI disentanglement", better=1, ranked_by="data"),
    Column("dci_completeness", "DCI completeness", better=1, ranked_by="data"),
    Column("dci_informativeness", "DCI informativeness", better=1, ranked_by="data"),
)


@dataclass(frozen=True)
class DCI:
    """The three scores, each 0 at worst but for chance, and 1 at best."""

    disentanglement: float
    completeness: float
    informativeness: float


def certainty(weights: np.ndarray, axis: int) -> np.ndarray:
    """1 - H / log n of the weights along an axis of n, made to sum to 1: 1 where one has all, 0 where all are equal."""
    n = weights.shape[axis]
    total = weights.sum(axis, keepdims=True)
    p = np.where(total > 0, weights / np.where(total > 0, total, 1.0), 1 / n)
    logs = np.log(np.where(p > 0, p, 1.0))
    found: np.ndarray = 1 + (p * logs).sum(axis) / np.log(max(n, 2))
    return found


def dci_scores(given: CodesAndFactors, trees: int, leaf: int, seed: int) -> DCI:
    """The scores from forests that predict each factor from all codes, fitted to one half of the images."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import recall_score

    one, other = given.halves(seed)
    importance = np.zeros((given.codes.shape[1], given.factors.shape[1]))
    accuracies = []
    for k, values in enumerate(given.values):
        forest = RandomForestClassifier(
            trees, max_features=None, min_samples_leaf=leaf, random_state=seed % 2**32, n_jobs=1
        )
        forest.fit(one.codes, one.factors[:, k])
        importance[:, k] = forest.feature_importances_
        truth = other.factors[:, k]
        recall = recall_score(
            truth, forest.predict(other.codes), labels=np.unique(truth), average="macro", zero_division=0
        )
        accuracies.append(over_chance(float(recall), values))
    share = importance.sum(1) / max(importance.sum(), 1e-12)
    return DCI(
        float((share * certainty(importance, 1)).sum()),
        float(certainty(importance, 0).mean()),
        float(np.mean(accuracies)),
    )


@register.metric("dci", paper="Eastwood and Williams (2018), ICLR", columns=COLUMNS, labels=True)
def dci(
    model: LatentModel, images: Tensor, context: Evaluation, *, trees: int = 20, leaf: int = 5
) -> dict[str, float | None]:
    """How codes E_q[z_j] and factors v_k share out what random forests of `trees` trees know about each other. A leaf
    has `leaf` images or more: trees that go on to single images spread R over all codes.

    R_jk is the importance of code j for factor k. dci_disentanglement = sum_j rho_j (1 - H_F(R_j.)): whether a code
    serves one factor, with rho_j the code's share of R. dci_completeness = (1/F) sum_k (1 - H_Z(R_.k)): whether a
    factor has one code. H is the entropy of the normalised row or column, in units of log F or log Z.
    dci_informativeness: the balanced accuracy on the half of the images that the forests were not fitted to, as the
    share of what chance leaves. All near 0 for random codes, and 1 where each factor has one code of its own. No
    numbers for a set without factors.
    """
    given = codes_and_factors(model, images, context)
    names = [column.name for column in COLUMNS]
    if given is None:
        context.notes |= dict.fromkeys(names, NO_FACTORS)
        return dict.fromkeys(names)
    found = dci_scores(given, trees, leaf, noise.derive(context.seed, "dci"))
    return dict(zip(names, (found.disentanglement, found.completeness, found.informativeness), strict=True))
