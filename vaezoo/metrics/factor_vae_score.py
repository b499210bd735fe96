"""The score of FactorVAE: whether the code that varies least tells which factor is fixed."""

import numpy as np
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._factors import NO_FACTORS, CodesAndFactors, codes_and_factors, over_chance
from vaezoo.registry import register

COLUMNS = (
    Column("factor_vae_score", "FactorVAE score", better=1, ranked_by="data"),
    Column("factor_vae_score_over_chance", "FactorVAE score over chance", better=1, ranked_by="data"),
)

ONE_FACTOR = "one factor varies in the test images, and a vote chooses among two or more"


def votes(given: CodesAndFactors, count: int, images: int, generator: np.random.Generator) -> np.ndarray:
    """How often code d varies least among images that share the value of factor k. Codes are divided by their standard
    deviation. [Z, F]
    """
    scaled = given.codes / given.codes.std(0)
    table = np.zeros((scaled.shape[1], given.factors.shape[1]))
    for _ in range(count):
        k = generator.integers(given.factors.shape[1])
        value = given.factors[generator.integers(len(scaled)), k]
        chosen = generator.choice(np.flatnonzero(given.factors[:, k] == value), images)
        table[scaled[chosen].var(0).argmin(), k] += 1
    return table


def factor_vae_accuracy(
    given: CodesAndFactors, *, fitted: int, tested: int, images: int, threshold: float, seed: int
) -> float:
    """The accuracy of the majority vote of `fitted` votes on `tested` others; 1 / F where no code is active."""
    active = given.codes.var(0) > threshold
    if not active.any():
        return 1 / int(given.factors.shape[1])
    used, generator = CodesAndFactors(given.codes[:, active], given.factors), np.random.default_rng(seed)
    factor = votes(used, fitted, images, generator).argmax(1)
    table = votes(used, tested, images, generator)
    return float(table[np.arange(len(table)), factor].sum() / table.sum())


@register.metric("factor-vae-score", paper="Kim and Mnih (2018), arXiv:1802.05983", columns=COLUMNS, labels=True)
def factor_vae_score(
    model: LatentModel,
    images: Tensor,
    context: Evaluation,
    *,
    fitted: int = 800,
    tested: int = 800,
    together: int = 64,
    threshold: float = 0.01,
) -> dict[str, float | None]:
    """factor_vae_score: how often a majority vote tells which factor is fixed from the code that varies least.

    A vote fixes a random factor at a random value, takes `together` test images that have it, and finds the code
    E_q[z_j] / std with the smallest variance. `fitted` votes give each code its factor, `tested` others are the score.
    Codes with Var(E_q[z_j]) <= threshold are left out. factor_vae_score_over_chance = (score - 1/F) / (1 - 1/F): near 0
    for random codes. Both are 1 where each factor has one code of its own. No numbers for a set without factors, nor
    for one with a single factor that varies, which is always the fixed one.
    """
    given = codes_and_factors(model, images, context)
    names = [column.name for column in COLUMNS]
    if given is None or given.factors.shape[1] == 1:
        context.notes |= dict.fromkeys(names, NO_FACTORS if given is None else ONE_FACTOR)
        return dict.fromkeys(names)
    seed = noise.derive(context.seed, "factor-vae-score")
    accuracy = factor_vae_accuracy(given, fitted=fitted, tested=tested, images=together, threshold=threshold, seed=seed)
    return dict(zip(names, (accuracy, over_chance(accuracy, given.factors.shape[1])), strict=True))
