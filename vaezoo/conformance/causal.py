"""Proofs of autoregressive decoders: p(x|z) sums to 1, and no pixel's parameters depend on the pixels after it."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vaezoo.conformance.grid import figures_over
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, contexts, images
from vaezoo.conformance.verdict import NotRun, must
from vaezoo.conformance.verdict import close_to as close
from vaezoo.core import noise
from vaezoo.core.contracts import Latents
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel
from vaezoo.core.requests import requested_arguments

SUMMED = ((1, 2, 2), (1, 3, 3), (2, 2, 2), (4,), (1, 4, 4))
"""Shapes of binary images whose every image is summed over; the last ones where the decoder skips the others."""
ORDERED = ((1, 3, 3), (2, 2, 2), (3, 3, 2), (1, 8, 8), (3, 4, 4), (6,), (1, 28, 28))
"""Shapes on which the order of the pixels is proved."""
SUMMED_PIXELS, ORDERED_PIXELS = 9, 200
"""The most pixels that are summed over, and on which the order is proved, where enough shapes are not skipped."""


def _models(subject: Subject, shapes: tuple[tuple[int, ...], ...], fewest: int, most: int) -> Iterator[LatentModel]:
    """Small models on each shape; those of more than `most` pixels only until `fewest` shapes are not skipped. NotRun
    where the decoder does not request x, or skips all.
    """
    if not any(name == "x" for name, _ in requested_arguments(subject.build()[0].decoder.forward, 1)):
        raise NotRun("it does not ask for x, so its pixels are independent given z")
    found, last = 0, NotRun("it skips every shape")
    for shape in shapes:
        if found >= fewest and math.prod(shape) > most:
            continue
        try:
            yield subject.build(shape=shape, double=True, overrides={"encoder": "linear"})[0].eval()
            found += 1
        except NotRun as reason:
            last = reason
    if not found:
        raise last


def _given(model: LatentModel, count: int) -> tuple[Latents, Tensor | None]:
    """One z ~ p(z) and one context, for `count` images. ([1, count, Z_l], ..), [count, C]"""
    one = contexts(model, 1)
    with noise.stream(31, dtype=torch.float64), torch.no_grad():
        z = tuple(group[None].expand(1, count, -1) for group in model.prior_sample(1, one))
    return z, None if one is None else one.expand(count, -1)


@PROOFS.add("decoder normalised", "decoder")
def decoder_normalised(subject: Subject) -> str:
    """The sum of p(x|z) over all binary images of (1, 2, 2), (1, 3, 3) and (2, 2, 2) pixels is 1: a decoder that sees x
    may use only the pixels before each one.

    Nothing is random: false alarm 0.
    """
    worst = 0.0

    def one(model: LatentModel) -> str:
        """The sum on images of one shape."""
        nonlocal worst
        if model.spec.dimensions > 16:
            raise NotRun(f"2^{model.spec.dimensions} images are too many to be summed over")
        values = torch.tensor([0.0, 1.0], dtype=torch.float64)
        x = torch.cartesian_prod(*[values] * model.spec.dimensions).view(-1, *model.spec.shape)
        z, context = _given(model, len(x))
        with torch.no_grad():
            found = float(model.log_likelihood(Batch(x, context, torch.arange(len(x))), z).exp().sum())
        worst = max(worst, abs(found - 1))
        return close(found, 1.0, 1e-6, f"the total probability of all images of {list(model.spec.shape)}")

    return f"1 within {worst:.1g}" if figures_over(_models(subject, SUMMED, 3, SUMMED_PIXELS), one) else ""


@PROOFS.add("pixels in order", "decoder")
def pixels_in_order(subject: Subject) -> str:
    """The parameters of pixel i do not depend on the pixels from i on in `pixel_order`: by automatic differentiation
    and by changing each pixel, on images of one and of several channels.

    Nothing is random: false alarm 0.
    """

    def one(model: LatentModel) -> str:
        """The order on images of one shape."""
        shape, count = model.spec.shape, model.spec.dimensions
        order = model.decoder.pixel_order(shape)
        every = sorted(order.flatten().tolist()) == list(range(count))
        must(every, f"{len(order)} places", f"pixel_order must hold each of {count} places once, got {order.tolist()}")
        if tuple(model.likelihood.parameter_shape[-len(shape) :]) != shape:
            raise NotRun(f"its parameters {list(model.likelihood.parameter_shape)} are not those of single pixels")
        if order.ndim > 1:
            raise NotRun(f"it draws {order.shape[1]} places together")
        rank = torch.empty(count, dtype=torch.int64)
        rank[order] = torch.arange(count)
        by_changes = _sensitivity_by_changes(model)
        by_gradient = _sensitivity_by_gradient(model)
        later = rank[:, None] <= rank[None, :]  # whether parameter i must not see pixel j
        for title, found in (("gradient", by_gradient), ("change", by_changes)):
            off = torch.where(later, found, 0.0)
            worst = float(off.max())
            i, j = divmod(int(off.argmax()), count)
            detail = (
                f"images of {list(shape)}: the parameters of pixel {i}, number {int(rank[i])} in the order, depend on "
                f"pixel {j}, number {int(rank[j])}: by a {title} of {worst:.3g}"
            )
            must(worst <= 1e-9, f"{worst:.2g}", detail)
        return f"{list(shape)}"

    figures = figures_over(_models(subject, ORDERED, 1, ORDERED_PIXELS), one)
    return f"0 on {len(figures)} shapes"


def _sensitivity_by_changes(model: LatentModel) -> Tensor:
    """The largest change of pixel i's parameters when pixel j is changed, of a few values. [pixels, pixels]"""
    count = model.spec.dimensions
    start = images(model.spec, 1, seed=3).double().flatten()
    found = torch.zeros(count, count, dtype=torch.float64)
    for value in (0.0, 1.0, 0.5):
        x = start.expand(count + 1, -1).clone()
        x[torch.arange(count), torch.arange(count)] = value
        z, context = _given(model, count + 1)
        batch = Batch(x.view(-1, *model.spec.shape), context, torch.arange(count + 1))
        with torch.no_grad():
            parameters = model.decoder_output(batch, z)[0].reshape(count + 1, -1, count)
        found = torch.maximum(found, (parameters[:-1] - parameters[-1]).abs().amax(1).T)
    return found.nan_to_num(nan=math.inf)


def _sensitivity_by_gradient(model: LatentModel) -> Tensor:
    """|d (a random sum of pixel i's parameters) / d pixel j|. [pixels, pixels]"""
    count = model.spec.dimensions
    x = images(model.spec, 1, seed=4).double().requires_grad_()
    z, context = _given(model, 1)
    parameters = model.decoder_output(Batch(x, context, torch.arange(1)), z)[0, 0].reshape(-1, count)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(len(parameters), 1, generator=generator, dtype=torch.float64)
    sums = (parameters * weights).sum(0)
    if not sums.requires_grad:
        return torch.zeros(count, count, dtype=torch.float64)
    rows = [torch.autograd.grad(each, x, retain_graph=True, allow_unused=True)[0] for each in sums]
    return torch.stack([torch.zeros(count) if row is None else row.flatten().abs() for row in rows])
