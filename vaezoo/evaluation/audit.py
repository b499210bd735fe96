"""The audit of a trained model: whether its numbers are those of its weights, of normalised densities, without leaks.

Every figure stands beside the most that it may be. Changes of a right model are rounding. Its probabilities and its
prior's mass exceed each of their bounds with a chance of at most 1e-6 (Markov's inequality).
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import Latents
from vaezoo.core.data import DataSpec
from vaezoo.core.draws import Batch
from vaezoo.core.errors import VaezooWarning
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.audit_figures import Audit, Figure
from vaezoo.evaluation.estimate import evaluating, log_likelihood
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.evaluation.pareto import RELIABLE
from vaezoo.evaluation.prior_mass import LIMIT, log_mass

IMAGES = 16
"""Test images that are evaluated again, spread over the test set."""
ROUNDING = {"float32": 1e-4, "tf32": 1e-3, "bfloat16": 1e-2}
"""The most that an estimate may change, relatively, with the sizes of the blocks in which it is computed."""
SAME = 1e-5
"""The most that a term may change, relatively, when it is computed again from the same tensors."""
BESIDE = 1e-4
"""The most that a term may change, relatively, with the other images of a batch: their number changes its rounding."""
CHANCE = 1e-6
"""The most that the chance of a false alarm may be, of each bound on the probabilities of a cell's images."""
ERRORS = 6.0
"""Standard errors above 0 that a log-probability may lie, where the standard error can be trusted."""
POINTS = 480
"""Points of each proposal under which the prior's mass is taken."""
LARGEST = 1e6
"""Figures without a lower end are cut there."""
CUTS = (0.0, 0.5, 0.9)
"""Where an autoregressive decoder's order of pixels is cut: from there on they are replaced."""


def audit(model: LatentModel, reloaded: LatentModel, x: Tensor, evaluation: Evaluation) -> Audit:
    """The audit of a model whose estimates of these test images are in `evaluation.per_image`.

    reloaded: the same model, built anew, with the weights of its file. x: [N, *shape], stored images. See CLAIMS for
    what each figure is.
    """
    count = min(IMAGES, len(x))
    chosen = torch.linspace(0, len(x) - 1, count).round().long().flip(0)
    figures = {"reloaded": _reloaded(reloaded, x, chosen, evaluation)}
    context = None if evaluation.context is None else evaluation.context[chosen]
    with _in_float32(model), evaluating(model):
        batch = model.batch(x[chosen], context, evaluation.index[chosen].to(model.device))
        figures |= _leaks(model, batch) | {"prior_mass": _prior_mass(model, batch)}
        if model.decoder.autoregressive:
            figures["later_pixels"] = _later_pixels(model, batch)
    probable, not_decided = _probabilities(model, evaluation)
    return Audit(count, figures | probable, not_decided)


def _reloaded(reloaded: LatentModel, x: Tensor, chosen: Tensor, evaluation: Evaluation) -> Figure:
    """The largest relative difference between the estimates of the chosen images and those that were measured."""
    index, context = evaluation.index[chosen], evaluation.context
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VaezooWarning)  # the cell's own estimate gives them
        again = log_likelihood(
            reloaded,
            x[chosen],
            evaluation.importance_samples,
            evaluation.seed,
            context=None if context is None else context[chosen],
            index=index,
        )
    before = {name: evaluation.per_image[name][chosen] for name in ("iwll", "elbo", "reconstruction")}
    kl = before["reconstruction"] - before["elbo"]
    size = 1 + before["iwll"].abs() + before["reconstruction"].abs() + kl.abs()
    return Figure.of(float(((again.estimate - before["iwll"]).abs() / size).max()), ROUNDING[reloaded.precision])


@contextmanager
def _in_float32(model: LatentModel) -> Iterator[None]:
    """Coarser rounding would hide small leaks."""
    precision, model.precision = model.precision, "float32"
    try:
        yield
    finally:
        model.precision = precision


def _leaks(model: LatentModel, batch: Batch) -> dict[str, Figure]:
    """The largest relative changes of log p(x|z) and log p(z) of given x and z.

    After others: images of another order, and one image alone, were encoded in between. Beside others: half of the
    images in reverse order, without an index; for log p(z) also another x.
    """
    index = torch.arange(len(batch.x), device=model.device) if batch.index is None else batch.index
    others = Batch(batch.x.roll(1, 0), batch.context, index)
    one = Batch(*(None if each is None else each[:1] for each in (others.x, others.context, index)))  # type: ignore[arg-type]
    drawn = _encoded(model, batch)
    z = tuple(torch.cat([group, group.roll(1, 1)]) for group in drawn)  # each image's own latents, and another's
    first = _terms(model, batch, z)
    changes: dict[str, list[Tensor]] = {}

    def compare(title: str, found: tuple[Tensor, Tensor], rows: Tensor | slice = slice(None)) -> None:
        """Note how far log p(x|z) and log p(z) are from the first ones."""
        for name, value, before in zip(("likelihood", "prior"), found, first, strict=True):
            expected = before[..., rows]
            size = 1 + torch.where(expected.isfinite(), expected.abs(), 0.0)
            off = torch.where(value == expected, 0.0, (value - expected).abs() / size)
            changes.setdefault(f"{name}_{title}", []).append(off.max())

    for encoded in (others, one):
        _encoded(model, encoded)
        compare("after_others", _terms(model, batch, z))
    half = torch.arange(len(index) // 2, -1, -1, device=model.device).clamp(max=len(index) - 1)
    context = None if batch.context is None else batch.context[half]
    beside = Batch(batch.x[half], context, None)
    compare("beside_others", _terms(model, beside, tuple(group[:, half] for group in z), index[half]), half)
    _, prior = _terms(model, others, z)
    compare("beside_others", (first[0], prior))
    most = {"after_others": SAME, "beside_others": BESIDE}
    return {
        name: Figure.of(float(torch.stack(found).max()), most[name.partition("_")[2]])
        for name, found in changes.items()
    }


def _encoded(model: LatentModel, batch: Batch) -> Latents:
    """One draw of each image's posterior, after which every term has been read. A tuple of [1, B, Z_l]"""
    with noise.stream(noise.derive(0, "audit"), index=batch.index, dtype=model.dtype):
        draws = model.draw(batch, 1)
        _ = draws.log_weight
    return draws.z


def _terms(model: LatentModel, batch: Batch, z: Latents, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """log p(x|z) [K, B] and log p(z) [L, K, B] of given points. index: by which noise is keyed."""
    keyed = batch.index if index is None else index
    with noise.stream(noise.derive(0, "audit of terms"), index=keyed, dtype=model.dtype):
        likelihood, prior = model.log_joint(batch, z)
    return likelihood.double(), prior.double()


def _prior_mass(model: LatentModel, batch: Batch) -> Figure:
    """The largest log mass of the prior under wide proposals. One above its limit is drawn anew and the smaller counts,
    so that the chance of a false alarm falls from 1e-3 to 1e-6 for each proposal.
    """
    found: Mapping[float, float] = log_mass(model, batch, samples=POINTS, seed=0)
    if max(found.values()) > LIMIT:
        again = log_mass(model, batch, samples=POINTS, seed=1)
        found = {scale: min(found[scale], again[scale]) for scale in found}
    return Figure.of(max(*found.values(), -LARGEST), LIMIT)


def _later_pixels(model: LatentModel, batch: Batch) -> Figure:
    """The largest change of E[x_i|z, x_<i] where the pixels from i on are those of other images."""
    order = model.decoder.pixel_order(model.spec.shape).to(model.device)
    z = _encoded(model, batch)
    changes = []
    for cut in CUTS:
        place = int(cut * len(order))
        x = batch.x.flatten(1).clone()
        x[:, order[place:]] = x.flip(-1).roll(1, 0)[:, order[place:]]
        before, after = (
            model.mean_image(batch, model.decoder_output(Batch(images, batch.context, batch.index), z)).flatten(2)
            for images in (batch.x, x.view_as(batch.x))
        )
        seen = order[: place + 1]
        changes.append(((after - before).abs() / (1 + before.abs()))[..., seen].max())
    return Figure.of(float(torch.stack(changes).max()), BESIDE)


def _probabilities(model: LatentModel, evaluation: Evaluation) -> tuple[dict[str, Figure], dict[str, str]]:
    """The figures of the images' probabilities, and why some are not there.

    The mean of exp(estimate) is p(x), which is at most 1: by Markov's inequality, one of N estimates is above
    ln(N / CHANCE) with a chance of at most CHANCE, and their mean above ln(1 / CHANCE) with a chance of at most CHANCE.
    """
    spec, names = model.spec, ("probability", "mean_probability", "probability_in_errors")
    if model.pseudo_likelihood:
        return {}, dict.fromkeys(names, "the likelihood scores another measure than the images have")
    if spec.measure == "continuous" and spec.levels is None:
        return {}, dict.fromkeys(names, "the images are continuous: a density has no largest value")
    values = evaluation.per_image
    found = values["iwll"].double() + _quantisation(spec)
    figures = {
        "probability": Figure.of(float(found.max()), math.log(len(found) / CHANCE)),
        "mean_probability": Figure.of(float(found.mean()), math.log(1 / CHANCE)),
    }
    if spec.measure == "continuous":
        return figures, {names[2]: "of dequantised images one point of each cell is scored, not its mean"}
    size = 1 + values["reconstruction"].double().abs() + (values["reconstruction"] - values["elbo"]).double().abs()
    errors = (found - ROUNDING[model.precision] * size) / values["iwll_standard_error"].double().clamp(min=1e-12)
    trusted = values["pareto_k"] < RELIABLE  # NaN where K is too small to tell
    if not bool(trusted.any()):
        return figures, {names[2]: f"the Pareto k-hat of no image is below {RELIABLE}"}
    return figures | {names[2]: Figure.of(float(errors[trusted].max().clamp(-LARGEST, LARGEST)), ERRORS)}, {}


def _quantisation(spec: DataSpec) -> float:
    """What turns the log-density of dequantised images into a log-probability: -D ln(levels); 0 for other images."""
    return -spec.dimensions * math.log(spec.levels) if spec.measure == "continuous" and spec.levels else 0.0
