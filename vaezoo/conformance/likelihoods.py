"""Proofs of p(x|z): normalised over the images of its measures, sampled as it says, finite far out, causal."""

import torch
from scipy import stats
from torch import Tensor

from vaezoo.conformance.grid import FALSE_ALARM, Density, Grid
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import LEVELS, Subject, contexts, images
from vaezoo.conformance.verdict import NotRun, must, within_errors
from vaezoo.conformance.verdict import close_to as close
from vaezoo.core import noise
from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel
from vaezoo.core.requests import requested_arguments

COUNTS = {1: 4000, 2: 300}
"""How many counts are summed over, for one and for two pixels."""


class Pixels:
    """A likelihood on images of one or two pixels: points [N, pixels] under one image's parameters."""

    def __init__(self, subject: Subject, pixels: int):
        plain = {"encoder": "linear", "decoder": "linear"}
        model = subject.build(shape=(1, 1, pixels), double=True, altered=True, overrides=plain)[0].eval()
        self.model, self.pixels, self.bounded = model, pixels, model.spec.levels is not None
        self.values = _values(model.spec, pixels)

    def parameters(self, count: int) -> list[Tensor]:
        """Several images' parameters, each [1, 1, *parameter_shape]."""
        size = 0.7 if self.model.spec.measure == "counts" else 1.5
        with noise.stream(23, dtype=torch.float64):
            drawn = size * noise.normal(count, *self.model.likelihood.parameter_shape)
        return list(drawn[:, None, None])

    def density(self, parameters: Tensor) -> Density:
        """log p(x) of points."""

        def density(points: Tensor) -> Tensor:
            """log p(x|z) of points under one image's parameters."""
            x = points.view(-1, *self.model.spec.shape)
            with torch.no_grad():
                return self.model.likelihood.log_prob(x, parameters.expand(1, len(x), *parameters.shape[2:]))[0]

        return density

    def samples(self, parameters: Tensor, count: int) -> Tensor:
        """Drawn from p(x|z); where it has no `sample`, noise about its mean, to say where a grid must reach."""
        with torch.no_grad(), noise.stream(29, dtype=torch.float64):
            try:
                drawn = self.model.likelihood.sample(parameters[0].expand(count, *parameters.shape[2:]))
            except NotImplementedError:
                mean = self.model.likelihood.mean(parameters[0])
                drawn = mean.flatten(1) + noise.normal(count, mean[0].numel())
        return drawn.flatten(1)

    def grid(self, parameters: Tensor, samples: Tensor) -> Grid:
        """A continuous density at the nodes of a grid."""
        return Grid(self.density(parameters), samples, bounded=self.bounded)

    def table(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Every image [N, pixels] of countable ones, and its probability."""
        assert self.values is not None
        points = torch.cartesian_prod(*[self.values] * self.pixels).view(-1, self.pixels)
        return points, self.density(parameters)(points).exp()


def _values(spec: DataSpec, pixels: int) -> Tensor | None:
    """Every value that a pixel can take (of counts, those up to a large one); None where they are not countable."""
    if spec.measure == "binary":
        return torch.tensor([0.0, 1.0], dtype=torch.float64)
    if spec.measure == "discrete":
        return torch.arange(LEVELS, dtype=torch.float64) / (LEVELS - 1)
    return torch.arange(COUNTS[pixels], dtype=torch.float64) if spec.measure == "counts" else None


def _total(pixels: Pixels, points: Tensor, probability: Tensor) -> tuple[float, float]:
    """The sum over all values, and an allowance for larger counts: the sum over the upper half of these."""
    total = float(probability.sum())
    if pixels.model.spec.measure != "counts" or not total < 1.0001:
        return total, 0.0
    tail = float(probability[(points >= COUNTS[pixels.pixels] / 2).any(-1)].sum())
    if tail > 0.05:
        raise NotRun(f"its counts reach too far to be summed: {tail:.2g} beyond {COUNTS[pixels.pixels] // 2}")
    return total, tail


@PROOFS.add("sums to 1", "likelihood")
def likelihood_normalised(subject: Subject) -> str:
    """p(x|z) of one and of two pixels, summed over every value or integrated over a grid, is 1."""
    worst = 0.0
    for one in subject.each_measure():
        for count in (1, 2):
            pixels = Pixels(one, count)
            for parameters in pixels.parameters(6 if count == 1 else 3):
                what = f"the total probability of {count} {one.measure} pixels"
                if pixels.values is None:
                    found = pixels.grid(parameters, pixels.samples(parameters, 2000)).integral(what)
                else:
                    found, beyond = _total(pixels, *pixels.table(parameters))
                    close(found, 1.0, 1e-4 + beyond, what)
                worst = max(worst, abs(found - 1))
    return f"1 within {worst:.1g}"


@PROOFS.add("mean as density", "likelihood")
def likelihood_mean(subject: Subject) -> str:
    """mean(parameters) = E[x|z], the sum of x p(x|z) over every value, or its integral over a grid."""
    figures = []
    for one in subject.each_measure():
        pixels = Pixels(one, 1)
        for parameters in pixels.parameters(4):
            with torch.no_grad():
                mean = float(pixels.model.likelihood.mean(parameters[0]))
            if pixels.values is None:
                grid = pixels.grid(parameters, pixels.samples(parameters, 2000))
                found, error = grid.expectation(lambda x: x)
                if error > 0.05 * (1 + abs(found)):
                    continue  # a tail too heavy for a grid, or for a mean
                floor = 0.005 * float(grid.scale[0])
                figures.append(within_errors(mean, found, 1.2 * error, "mean(parameters)", floor))
            else:
                points, probability = pixels.table(parameters)
                found, (_, beyond) = float(points[:, 0] @ probability), _total(pixels, points, probability)
                slack = 1e-4 * (1 + abs(found)) + beyond * COUNTS[1]
                figures.append(close(mean, found, slack, "mean(parameters)"))
    if not figures:
        raise NotRun("its tails are too heavy for a grid to tell its mean")
    return figures[-1]


@PROOFS.add("samples as density", "likelihood")
def likelihood_samples(subject: Subject) -> str:
    """sample(parameters) is distributed as log_prob says: chi-square or Kolmogorov-Smirnov, false alarm 1e-6."""
    if subject.plugin.target.sample is Likelihood.sample:
        raise NotRun("it has no sample(parameters)")
    figure = ""
    for one in subject.each_measure():
        for count in (1, 2):
            pixels = Pixels(one, count)
            for parameters in pixels.parameters(3):
                samples = pixels.samples(parameters, subject.count(20000))
                if pixels.values is None:
                    figure = pixels.grid(parameters, samples).same_distribution(samples)
                else:
                    figure = _chi_square(pixels, samples, pixels.table(parameters)[1])
    return figure


def _chi_square(pixels: Pixels, samples: Tensor, probability: Tensor) -> str:
    """Counts of each image against those expected; images expected under 10 times are one cell."""
    assert pixels.values is not None
    values = pixels.values
    place = (samples / float(values[1] - values[0])).round().long()
    off = float((samples - place * (values[1] - values[0])).abs().max())
    must(off < 1e-6 and int(place.min()) >= 0, "outside", "samples take values that the measure does not have")
    beyond = (place >= len(values)).any(1)
    if pixels.model.spec.measure != "counts":
        must(not bool(beyond.any()), "outside", "samples take values that the measure does not have")
    step = torch.tensor([len(values) ** (pixels.pixels - 1 - n) for n in range(pixels.pixels)])
    counts = torch.bincount((place[~beyond] * step).sum(1), minlength=len(probability)).double()
    expected = probability * len(samples)
    likely = expected >= 10
    found = torch.cat([counts[likely], (len(samples) - counts[likely].sum()).view(1)])
    rest = max(0.0, len(samples) - float(expected[likely].sum()))
    wanted = torch.cat([expected[likely], torch.tensor([rest], dtype=torch.float64)])
    if rest < 10:  # too few for a chi-square: their number is nearly Poisson
        p = float(stats.poisson.sf(float(found[-1]) - 1, max(rest, 1e-12)))
        must(p > FALSE_ALARM, f"p = {p:.1g}", f"{int(found[-1])} samples are rare images, expected {rest:.2g}")
        found, wanted = found[:-1], wanted[:-1]
    statistic = float(((found - wanted).square() / wanted).sum())
    p = float(stats.chi2.sf(statistic, max(1, len(wanted) - (rest >= 10))))
    return must(p > FALSE_ALARM, f"p = {p:.1g}", f"samples are not distributed as log_prob says: p = {p:.2g}")


@PROOFS.add("extremes", "likelihood")
def extremes(subject: Subject) -> str:
    """log p(x|z) is finite in float32 for parameters of +-30, its gradient finite, and in float64 at +-17 not 0:
    nothing overflows and nothing is clamped.
    """
    for one in subject.each_measure():
        for size, double in ((-30.0, False), (30.0, False), (-17.0, True), (17.0, True)):
            model = one.build(double=double)[0]
            x = images(model.spec, 2).to(model.dtype)
            shape = (1, 2, *model.likelihood.parameter_shape)
            parameters = torch.full(shape, size, requires_grad=True, dtype=model.dtype)
            value = model.likelihood.log_prob(x, parameters)
            finite = bool(value.isfinite().all())
            found = value.flatten()[0].item()
            must(finite, f"{found}", f"log p(x|z) is {found} at parameters of {size:g}")
            (slope,) = torch.autograd.grad(value.sum(), parameters)
            finite = bool(slope.isfinite().all())
            must(finite, "gradient", f"the gradient is not finite at parameters of {size:g}")
            moves = bool((slope.flatten(2) != 0).any(-1).all())
            must(moves or not double, "slope 0", f"the gradient is exactly 0 at parameters of {size:g}: do not clamp")
    return "finite"


@PROOFS.add("decoder normalised", "decoder")
def decoder_normalised(subject: Subject) -> str:
    """The sum of p(x|z) over all images of 2x2 binary pixels is 1: a decoder that sees x may use only the pixels
    before each one.
    """
    model = subject.build()[0]
    if not any(name == "x" for name, _ in requested_arguments(model.decoder.forward, 1)):
        raise NotRun("it does not ask for x, so its pixels are independent given z")
    model = _small(subject)
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * model.spec.dimensions)
    x = every.view(-1, *model.spec.shape)
    one = contexts(model, 1)
    with noise.stream(31, dtype=torch.float64), torch.no_grad():
        z = tuple(group[None].expand(1, len(x), -1) for group in model.prior_sample(1, one))
        context = None if one is None else one.expand(len(x), -1)
        found = float(model.log_likelihood(Batch(x, context, torch.arange(len(x))), z).exp().sum())
    return close(found, 1.0, 1e-6, f"the total probability of all {len(x)} images")


def _small(subject: Subject) -> LatentModel:
    """On 2x2 pixels, or more where the decoder skips those."""
    for shape in ((1, 2, 2), (1, 3, 3), (1, 4, 4), (4,)):
        try:
            return subject.build(shape=shape, double=True, overrides={"encoder": "linear"})[0].eval()
        except NotRun as reason:
            last = reason
    raise last
