"""Codes and factors of images, for the scores of disentanglement."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._posterior import batches, posterior_mean

SAMPLES = 64
"""Draws of a posterior that is not Gaussian, whose mean is the code."""
NO_FACTORS = "the data set has no factors, which are labels [N, F] of whole numbers, as those of `sprites` are"


@dataclass(frozen=True)
class CodesAndFactors:
    """Of N images: codes E_q[z_j], float64 [N, Z], and factors, whole numbers 0 .. values - 1, int64 [N, F]."""

    codes: np.ndarray
    factors: np.ndarray

    @property
    def values(self) -> list[int]:
        """How many values each factor takes."""
        return [int(column.max()) + 1 for column in self.factors.T]

    def halves(self, seed: int) -> tuple["CodesAndFactors", "CodesAndFactors"]:
        """A random half of the images, and the others."""
        order = np.random.default_rng(seed).permutation(len(self.codes))
        first, second = (CodesAndFactors(self.codes[part], self.factors[part]) for part in np.array_split(order, 2))
        return first, second


def numbered(labels: np.ndarray) -> np.ndarray:
    """Each factor's values as 0 .. values - 1, without factors of a single value. [N, F] -> [N, F']"""
    columns = [np.unique(column, return_inverse=True)[1] for column in labels.T]
    varied = [column for column in columns if column.max() > 0]
    return np.stack(varied, -1) if varied else np.empty((len(labels), 0), dtype=np.int64)


def codes_and_factors(model: LatentModel, images: Tensor, context: Evaluation) -> CodesAndFactors | None:
    """Those of the images; None where the data set has no factors (`NO_FACTORS` is the note that says so)."""
    y = context.dataset.test.y
    if y is None or y.ndim != 2 or y.is_floating_point():
        return None
    means = []
    with evaluating(model):
        for batch in batches(model, images, context):
            with noise.stream(noise.derive(context.seed, "factors"), index=batch.index, dtype=model.dtype):
                means.append(posterior_mean(model.posterior(batch), SAMPLES))
    factors = numbered(y[context.index].numpy())
    return CodesAndFactors(torch.cat(means).double().cpu().numpy(), factors) if factors.shape[1] else None


def over_chance(accuracy: float, classes: int) -> float:
    """An accuracy as the share of what chance leaves: 0 at 1 / classes, 1 at 1."""
    return (accuracy - 1 / classes) / (1 - 1 / classes)
