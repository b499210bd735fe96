"""What a coarser precision does to a log-likelihood: measured with the same weights and the same noise."""

import math
import warnings

from torch import Tensor

from vaezoo.core.errors import VaezooWarning
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import log_likelihood

IMAGES = 500
SAMPLES = 500


def difference_from_float32(model: LatentModel, images: Tensor, importance_samples: int) -> dict[str, float]:
    """iwll in the model's precision minus iwll in float32, in nats an image, with its standard error over the images.

    On the first IMAGES of the images, with K = importance_samples but SAMPLES at most. Both estimates have the same
    samples' noise, so that the difference is one of rounding alone; in float32 it is 0. One image has no standard
    error (NaN). The model's precision stays as it was.
    """
    precision, images, values = model.precision, images[:IMAGES], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VaezooWarning)  # of the real estimate, which has more samples, they are told
        try:
            for model.precision in (precision, "float32"):
                values.append(log_likelihood(model, images, min(importance_samples, SAMPLES)).estimate)
        finally:
            model.precision = precision
    difference = values[0] - values[1]
    error = float(difference.std()) / math.sqrt(len(images)) if len(images) > 1 else math.nan
    return {"iwll_minus_float32": float(difference.mean()), "iwll_minus_float32_standard_error": error}
