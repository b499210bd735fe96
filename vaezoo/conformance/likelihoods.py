"""Proofs of p(x|z): normalised over the images of its measures, sampled as it says, finite far out."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vaezoo.conformance.grid import figures_over, same_frequencies
from vaezoo.conformance.overlap import VAGUE, overlap
from vaezoo.conformance.pixels import COUNTS, Pixels, Slices
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import LEVELS, Subject
from vaezoo.conformance.verdict import NotRun, must, within_errors
from vaezoo.conformance.verdict import close_to as close
from vaezoo.core.contracts import Likelihood
from vaezoo.core.requests import call_with_requests

SHAPES: tuple[tuple[int, ...], ...] = ((1, 1, 1), (1, 1, 2), (1, 2, 2), (3, 1, 1), (3, 2, 2))
"""Shapes of the small images: one pixel, rows and columns, and channels."""
MOST_LEVELS = 256
SOME_LEVELS = (*range(2, 18), 32, 64, 100, 128, 200, 255, 256)
"""The numbers of levels that quick mode tries, in place of all."""
EVEN_STEPS = 33
"""Values from -8 to 8 that all parameters of one pixel take in turn."""
SIZES, SATURATED = (1.5, 0.1), 12.0
"""Standard deviations of the parameters of one pixel; and one at which most probabilities are nearly 0 or 1."""
DRAWS = 4000
"""Images drawn from slices."""


def _each(subject: Subject) -> Iterator[Pixels]:
    """Small images of every shape and measure; discrete ones also in as few levels as can be summed over, and in 256.

    A likelihood that skips a shape of them is proved on the others. NotRun where it skips all.
    """
    found, skipped = 0, ""
    for one in subject.each_measure():
        for shape in SHAPES:
            for levels in (LEVELS, 2, MOST_LEVELS) if one.measure == "discrete" else (LEVELS,):
                try:
                    pixels = Pixels(one, shape, levels)
                except NotRun as reason:
                    skipped = str(reason)
                    continue
                found += 1
                yield pixels
    if not found:
        raise NotRun(skipped)


def _total(pixels: Pixels, points: Tensor, probability: Tensor) -> tuple[float, float]:
    """The sum over all values, and an allowance for larger counts: the sum over the upper half of these."""
    total = float(probability.sum())
    if pixels.spec.measure != "counts" or not total < 1.0001:
        return total, 0.0
    tail = float(probability[(points >= COUNTS[pixels.count] / 2).any(-1)].sum())
    if tail > 0.05:
        raise NotRun(f"its counts reach too far to be summed: {tail:.2g} beyond {COUNTS[pixels.count] // 2}")
    return total, tail


@PROOFS.add("sums to 1", "likelihood")
def likelihood_normalised(subject: Subject) -> str:
    """p(x|z), summed over every image, integrated over a grid, or E_h[p/h] with a known h, is 1, on images of
    (1, 1, 1), (1, 1, 2), (1, 2, 2), (3, 1, 1) and (3, 2, 2) pixels, and on one pixel of 2, 3, .. and 256 levels.

    Parameters of one pixel are also tried near 0, and saturated where its values are finitely many. Sums are exact; of
    the grids and of E_h[p/h]: false alarm 1e-4.
    """
    worst = 0.0

    def one(pixels: Pixels) -> str:
        """The total on images of one kind."""
        nonlocal worst
        what = f"the total probability of {pixels.title}"
        finite = pixels.enumerable and pixels.spec.measure != "counts"
        sizes = (*SIZES, *[SATURATED] * finite) if pixels.count == 1 else SIZES[:1]
        for parameters in (each for size in sizes for each in pixels.parameters(4 if pixels.count == 1 else 2, size)):
            if pixels.enumerable:
                found, beyond = _total(pixels, *pixels.table(parameters))
                close(found, 1.0, 1e-6 + 2 * beyond, what)
            elif pixels.on_a_grid:
                found = pixels.grid(parameters, pixels.samples(parameters, 2000)).integral(what)
            else:
                found = _of_slices(pixels, parameters, what)
            worst = max(worst, abs(found - 1))
        return what

    decided = len(figures_over(_each(subject), one))
    if "discrete" in subject.measures:
        _every_number_of_levels(Subject(subject.plugin, subject.quick, "discrete", subject.context))
    return f"1 within {worst:.1g} on {decided} kinds of images"


def _every_number_of_levels(subject: Subject) -> None:
    """Check the sum over the levels of one pixel, for each number of levels, under parameters that are likely to reach
    every level.
    """
    for levels in SOME_LEVELS if subject.quick else range(2, MOST_LEVELS + 1):
        try:
            pixels = Pixels(subject, (1, 1, 1), levels)
        except NotRun:
            continue
        assert pixels.values is not None
        shape = pixels.likelihood.parameter_shape
        even = torch.linspace(-8, 8, EVEN_STEPS, dtype=torch.float64).view(-1, *[1] * len(shape)).expand(-1, *shape)
        drawn = [each[0, 0] for each in pixels.parameters(4, 3.0)]
        parameters = torch.cat([even, torch.stack(drawn)])[:, None]  # [K, 1, *shape]
        x = pixels.values.view(-1, *pixels.spec.shape)
        with torch.no_grad():
            log_p = pixels.log_prob(x, parameters.expand(-1, len(x), *shape))
        for found in log_p.exp().sum(1).tolist():
            close(found, 1.0, 1e-6, f"the total probability of {pixels.title}")


def _ratios(pixels: Pixels, parameters: Tensor) -> tuple[Slices, Tensor, Tensor]:
    """Slices, images x drawn from them [N, pixels], and p/h of each. NotRun where p/h varies too much to tell."""
    slices = pixels.slices(parameters)
    x, log_h = slices.sample_and_log_density(DRAWS)
    ratio = (pixels.density(parameters)(x).nan_to_num(nan=-math.inf) - log_h).exp()
    return slices, x, ratio


def _of_slices(pixels: Pixels, parameters: Tensor, what: str) -> float:
    """The mean of p/h. Wrong unless it is 1 within ERRORS standard errors."""
    slices, _, ratio = _ratios(pixels, parameters)
    found, error = float(ratio.mean()), float(ratio.std() / math.sqrt(len(ratio)))
    tail = slices.upper_half if pixels.spec.measure == "counts" else 0.0
    if not error <= VAGUE * max(found, 1.0) or tail > 0.05:
        raise NotRun(f"undecided: {what} is {found:.3g} +- {error:.1g}: its pixels depend on each other too much")
    within_errors(found, 1.0, error, what, 1e-3 + 2 * tail * pixels.count)
    return found


@PROOFS.add("mean as density", "likelihood")
def likelihood_mean(subject: Subject) -> str:
    """mean(parameters) = E[x|z], the sum of x p(x|z) over every image, its integral over a grid, or E_h[x p/h] with a
    known h, of every pixel of images of (1, 1, 1) to (3, 2, 2).

    Sums are exact; of the others, at 5 standard errors: false alarm 1e-4.
    """

    def one(pixels: Pixels) -> str:
        """The means on images of one kind."""
        figures = [figure for parameters in pixels.parameters(2) for figure in _mean_of(pixels, parameters)]
        if not figures:
            raise NotRun("its tails are too heavy for a grid to tell its mean")
        return figures[-1]

    return figures_over(_each(subject), one)[-1]


def _mean_of(pixels: Pixels, parameters: Tensor) -> list[str]:
    """The figures of the mean of each pixel; none where the tails are too heavy for a grid, or for a mean."""
    mean, figures = pixels.mean(parameters), []
    if pixels.enumerable:
        points, probability = pixels.table(parameters)
        beyond = _total(pixels, points, probability)[1]
        for n, found in enumerate((points * probability[:, None]).sum(0).tolist()):
            slack = 1e-5 * (1 + abs(found)) + beyond * COUNTS.get(pixels.count, 0)
            figures.append(close(float(mean[n]), found, slack, f"mean(parameters) of pixel {n} of {pixels.title}"))
        return figures
    if pixels.on_a_grid:
        grid = pixels.grid(parameters, pixels.samples(parameters, 2000))
        each = [grid.expectation(lambda *axes, n=n: axes[n]) for n in range(pixels.count)]
        errors = [(found, 1.2 * error, 0.005 * float(grid.scale[n])) for n, (found, error) in enumerate(each)]
    else:
        slices, x, ratio = _ratios(pixels, parameters)
        if not float(ratio.std()) / math.sqrt(len(ratio)) <= VAGUE:
            return []
        # about the middle, where the spread of p/h does not count
        apart = (x - slices.centre) * ratio[:, None]
        off, spread = apart.mean(0), apart.std(0) / math.sqrt(len(apart))
        errors = [
            (float(slices.centre[n] + off[n]), float(spread[n]), 0.005 * float(slices.scale[n]))
            for n in range(pixels.count)
        ]
    for n, (found, error, floor) in enumerate(errors):
        if error <= 0.05 * (1 + abs(found)):
            what = f"mean(parameters) of pixel {n} of {pixels.title}"
            figures.append(within_errors(float(mean[n]), found, error, what, floor))
    return figures


@PROOFS.add("samples as density", "likelihood")
def likelihood_samples(subject: Subject) -> str:
    """sample(parameters) is distributed as log_prob says, on images of (1, 1, 1) to (3, 2, 2): chi-square over every
    image, Kolmogorov-Smirnov on a grid, or E_h[f p/(p + h)] = E_p[f h/(p + h)] with a known h.

    Of all shapes together: false alarm 1e-4.
    """
    if subject.plugin.target.sample is Likelihood.sample:
        raise NotRun("it has no sample(parameters)")

    def one(pixels: Pixels) -> str:
        """The comparison on images of one kind."""
        for parameters in pixels.parameters(2):
            samples = pixels.samples(parameters, subject.count(20000 if pixels.count <= 2 else 8000))
            if pixels.enumerable:
                figure = _chi_square(pixels, samples, pixels.table(parameters)[1])
            elif pixels.on_a_grid:
                figure = pixels.grid(parameters, samples).same_distribution(samples)
            else:
                _legal(pixels, samples)
                figure = overlap(pixels.density(parameters), samples, pixels.slices(parameters))
        return figure

    return figures_over(_each(subject), one)[-1]


def _legal(pixels: Pixels, samples: Tensor) -> None:
    """Wrong where samples take values that the measure does not have."""
    if pixels.values is None:
        return
    step = float(pixels.values[1] - pixels.values[0])
    place = (samples / step).round()
    top = math.inf if pixels.spec.measure == "counts" else len(pixels.values) - 1
    legal = (samples - place * step).abs().max() < 1e-6 and place.min() >= 0 and place.max() <= top
    must(bool(legal), "outside", "samples take values that the measure does not have")


def _chi_square(pixels: Pixels, samples: Tensor, probability: Tensor) -> str:
    """Counts of each image against those expected."""
    assert pixels.values is not None
    _legal(pixels, samples)
    values = pixels.values
    place = (samples / float(values[1] - values[0])).round().long()
    beyond = (place >= len(values)).any(1)
    step = torch.tensor([len(values) ** (pixels.count - 1 - n) for n in range(pixels.count)])
    counts = torch.bincount((place[~beyond] * step).sum(1), minlength=len(probability)).double()
    return same_frequencies(counts, probability * len(samples), len(samples))


@PROOFS.add("extremes", "likelihood")
def extremes(subject: Subject) -> str:
    """log p(x|z) is finite in float32 for parameters of +-30, its gradient finite, and in float64 at +-17 not 0 where
    the mean still moves: nothing overflows, and nothing is clamped that the mean does not clamp too.
    """
    for one in subject.each_measure():
        for size, double in ((-30.0, False), (30.0, False), (-17.0, True), (17.0, True)):
            model = one.build(double=double)[0]
            batch = one.batch(model, 2)
            shape = (1, 2, *model.likelihood.parameter_shape)
            parameters = torch.full(shape, size, requires_grad=True, dtype=model.dtype)
            served = {"context": batch.context, "progress": batch.training_progress}
            value = call_with_requests(model.likelihood.log_prob, batch.x, parameters, parts=served)
            finite = bool(value.isfinite().all())
            found = value.flatten()[0].item()
            must(finite, f"{found}", f"log p(x|z) is {found} at parameters of {size:g}")
            (slope,) = torch.autograd.grad(value.sum(), parameters)
            finite = bool(slope.isfinite().all())
            must(finite, "gradient", f"the gradient is not finite at parameters of {size:g}")
            moves = bool((slope.flatten(2) != 0).any(-1).all())
            if double and not moves:
                with torch.no_grad():
                    near, far = (model.likelihood.mean(each[0]) for each in (parameters, 1.1 * parameters))
                detail = (
                    f"the gradient is exactly 0 at parameters of {size:g}, where the mean still moves: do not clamp"
                )
                must(torch.equal(near, far), "slope 0", detail)
    return "finite"
