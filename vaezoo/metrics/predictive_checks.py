"""Posterior predictive checks: whether images drawn from the model have the statistics of the test images."""

from collections.abc import Callable

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._posterior import batches
from vaezoo.registry import register

STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "zero_fraction": lambda x: (x == 0).double().mean(0),
    "mean": lambda x: x.mean(0),
    "variance": lambda x: x.var(0, correction=0),
}
"""Of images [N, pixels], float64, a number for each pixel."""


@register.metric(
    "predictive-checks",
    paper="Gelman et al. (1996), Statistica Sinica 6(4); Lopez et al. (2018), scVI, for counts",
    columns=(
        Column("zero_fraction_error", "zero fraction, error", better=-1),
        Column("mean_error", "mean, relative error", better=-1),
        Column("variance_error", "variance, relative error", better=-1),
        Column("zero_fraction_p_value", "zero fraction, p"),
        Column("mean_p_value", "mean, p"),
        Column("variance_p_value", "variance, p"),
    ),
)
def predictive_checks(
    model: LatentModel, images: Tensor, context: Evaluation, *, count: int = 20
) -> dict[str, float | None]:
    """Zero fraction, mean and variance of each pixel over the test images, beside those of `count` sets of images that
    the model draws in their place: x' ~ p(x|z) at z ~ q(z|x) of each test image, with its context.

    zero_fraction_error: |T(x') - T(x)|, the mean over pixels and sets; mean_error and variance_error: the same divided
    by the mean of T(x) over pixels. They are not 0 for the true model, since x and x' are samples: about 1 / sqrt(N).
    zero_fraction_p_value, mean_p_value and variance_p_value: how often a set's T, averaged over pixels, is on the other
    side of the test images' than most are, as a two-sided posterior predictive p-value; its least value is
    2 / (count + 1). The predictions use q(z|x), which has seen the image, so that a p-value near 1 is no proof; one at
    its least value says that the likelihood does not fit.
    Zero fractions are those of counts, and of any other images that have zeros. vectors:
    predicted_zero_fraction, predicted_mean and predicted_variance, each that of the test images and the mean of the
    sets', [2, pixels]. No number where the likelihood has no `sample`.
    """
    try:
        sets = [_statistics(_drawn(model, images, context, number)) for number in range(count)]
    except NotImplementedError as error:
        columns = [f"{name}_{kind}" for kind in ("error", "p_value") for name in STATISTICS]
        context.notes |= dict.fromkeys(columns, str(error))
        return dict.fromkeys(columns)
    observed = _statistics(model.spec.to_float(images).flatten(1).double().cpu())
    found: dict[str, float | None] = {}
    for name, expected in observed.items():
        drawn = torch.stack([each[name] for each in sets])  # [sets, pixels]
        unit = 1.0 if name == "zero_fraction" else float(expected.abs().mean())
        found[f"{name}_error"] = float((drawn - expected).abs().mean()) / unit if unit > 0 else None
        if unit == 0:
            context.notes[f"{name}_error"] = f"the test images have a {name} of 0 in each pixel"
        context.vectors[f"predicted_{name}"] = torch.stack([expected, drawn.mean(0)])
    for name, expected in observed.items():
        totals, total = torch.stack([each[name].mean() for each in sets]), expected.mean()
        rarer = min(int((totals >= total).sum()), int((totals <= total).sum()))
        found[f"{name}_p_value"] = min(1.0, 2 * (1 + rarer) / (1 + count))
    return found


def _statistics(x: Tensor) -> dict[str, Tensor]:
    return {name: statistic(x) for name, statistic in STATISTICS.items()}


def _drawn(model: LatentModel, images: Tensor, context: Evaluation, number: int) -> Tensor:
    """An image drawn for each test image. [N, pixels], float64 on the CPU"""
    found = []
    with evaluating(model):
        for batch in batches(model, images, context):
            key = noise.derive(context.seed, "predictive-checks", number)
            with noise.stream(key, index=batch.index, dtype=model.dtype):
                z = tuple(group[0] for group in model.draw(batch, 1).z)
                found.append(model.simulate(z, batch.context))
    return torch.cat(found).flatten(1).double().cpu()
