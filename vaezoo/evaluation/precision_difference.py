"""How much a coarser precision changes a log-likelihood, with the same weights and the same noise."""

import math
import warnings

from torch import Tensor

from vaezoo.core.errors import VaezooWarning
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import log_likelihood

IMAGES = 500
SAMPLES = 500


def difference_from_float32(
    model: LatentModel, images: Tensor, importance_samples: int, context: Tensor | None = None
) -> dict[str, float]:
    """iwll in the model's precision minus iwll in float32, in nats an image, with its standard error over the images.

    Uses the first IMAGES images and K = min(importance_samples, SAMPLES). Both estimates use the same noise, so the
    difference comes from rounding alone; in float32 it is 0. The standard error of one image is NaN. The model's
    precision is restored. context: of the images, for a conditional model.
    """
    precision, images, values = model.precision, images[:IMAGES], []
    seen = None if context is None else context[:IMAGES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VaezooWarning)  # the cell's own estimate, with more samples, gives them
        try:
            for model.precision in (precision, "float32"):
                values.append(log_likelihood(model, images, min(importance_samples, SAMPLES), context=seen).estimate)
        finally:
            model.precision = precision
    difference = values[0] - values[1]
    error = float(difference.std()) / math.sqrt(len(images)) if len(images) > 1 else math.nan
    return {"iwll_minus_float32": float(difference.mean()), "iwll_minus_float32_standard_error": error}
