"""How much higher the model scores its training images than the test images."""

import math

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.registry import register


@register.metric(
    "generalisation-gap",
    paper="Wu et al. (2017), arXiv:1611.04273",
    columns=tuple(
        column
        for name in ("iwll", "elbo")
        for column in (
            Column(f"generalisation_gap_{name}", f"generalisation gap, {name} (nats)", "nats"),
            Column(f"generalisation_gap_{name}_standard_error", f"generalisation gap standard error, {name} (nats)"),
        )
    ),
)
def generalisation_gap(
    model: LatentModel, images: Tensor, context: Evaluation, *, count: int = 1000
) -> dict[str, float | None]:
    """iwll and elbo of the first training images minus those of equally many test images, in nats an image.

    generalisation_gap_iwll and generalisation_gap_elbo: over at most `count` images of each split, with the same K;
    about 0 where the splits are alike and the model memorised nothing, above 0 with over-fitting. Their standard errors
    are over the images of both splits, sqrt(s_train^2 / N + s_test^2 / N). Training images that are binarised anew for
    each batch are binarised once here.
    """
    count = min(count, len(images), len(context.dataset.train))
    index = torch.arange(count)
    with noise.stream(noise.derive(context.seed, "generalisation"), index=index):
        x = context.dataset.train.images(index)
    samples, own_seed = context.importance_samples, noise.derive(context.seed, "generalisation", "samples")
    seen = None if context.context is None else context.context[:count]
    trained_on = None if seen is None else context.dataset.train.context
    train = log_likelihood(model, x, samples, own_seed, None if trained_on is None else trained_on[:count], index)
    values = {"iwll": train.estimate, "elbo": train.elbo}
    if values.keys() <= context.per_image.keys():
        held_out = {name: context.per_image[name][:count] for name in values}
    else:
        test = log_likelihood(model, images[:count], samples, context.seed, seen, context.index[:count])
        held_out = {"iwll": test.estimate, "elbo": test.elbo}
    found: dict[str, float | None] = {}
    for name, value in values.items():
        found[f"generalisation_gap_{name}"] = float(value.mean() - held_out[name].mean())
        variance = (value.var() + held_out[name].var()) / count if count > 1 else None
        error = None if variance is None else math.sqrt(float(variance))
        found[f"generalisation_gap_{name}_standard_error"] = error
    return found
