"""Proofs of densities: normalised, sampled as they say, with right log-determinants and closed forms."""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from vaezoo.conformance.proof import ERRORS, PROOFS, NotRun, close_to, must, within_errors
from vaezoo.conformance.subject import LEVELS, Subject, images, keyed
from vaezoo.core import noise
from vaezoo.core.contracts import Latents, Likelihood, PosteriorDistribution
from vaezoo.core.data import DataSpec
from vaezoo.core.draws import Batch
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.model import LatentModel

FALSE_ALARM = 1e-6
"""Probability at which a right sampler fails a distribution test."""

Density = Callable[[Tensor], Tensor]


class Grid:
    """Nodes over the whole line or plane: midpoints in t of z = centre + scale t / (1 - t^2), which reaches into heavy
    tails.
    """

    def __init__(self, samples: Tensor, nodes: int):
        t = (2 * np.arange(nodes) + 1) / nodes - 1
        lower, self.centre, upper = torch.quantile(samples, torch.tensor([0.1, 0.5, 0.9], dtype=samples.dtype), dim=0)
        self.scale = (upper - lower).clamp(min=1e-3) / 2
        node = torch.tensor(t / (1 - t**2), dtype=samples.dtype)
        slope = torch.tensor(2 / nodes * (1 + t**2) / (1 - t**2) ** 2, dtype=samples.dtype)
        axes = [self.centre[n] + self.scale[n] * node for n in range(samples.shape[1])]
        self.axes, self.weights = axes, [slope * self.scale[n] for n in range(samples.shape[1])]
        self.points = torch.cartesian_prod(*axes).view(-1, len(axes))

    def mass(self, density: Density) -> Tensor:
        """Probability at each node. [nodes] or [nodes, nodes]"""
        value = density(self.points).exp()
        if len(self.axes) == 1:
            return value * self.weights[0]
        return value.view(len(self.axes[0]), -1) * self.weights[0][:, None] * self.weights[1]


def integral(density: Density, samples: Tensor) -> tuple[float, Grid, Tensor]:
    """Integral of a density over its whole space, in 1 or 2 dimensions, trusted only where a finer grid agrees."""
    sizes = (1500, 2500) if samples.shape[1] == 1 else (160, 260)
    found = []
    for size in sizes:
        grid = Grid(samples, size)
        mass = grid.mass(density)
        found.append(float(mass.sum()))
    if abs(found[0] - found[1]) > 0.01:
        raise NotRun(f"the grid is too coarse for this density: {found[0]:.4f} and {found[1]:.4f}")
    return found[1], grid, mass


def same_distribution(samples: Tensor, grid: Grid, mass: Tensor) -> str:
    """Kolmogorov-Smirnov of each axis against the grid's own distribution, and one bounded mixed moment. Figure: the
    least p.
    """
    least = 1.0
    for axis in range(samples.shape[1]):
        marginal = mass if mass.ndim == 1 else mass.sum(1 - axis)
        cumulative = (marginal.cumsum(0) - 0.5 * marginal) / marginal.sum()
        values = np.interp(samples[:, axis].numpy(), grid.axes[axis].numpy(), cumulative.numpy())
        least = min(least, float(stats.kstest(values, "uniform").pvalue))
        must(
            least > FALSE_ALARM,
            f"p = {least:.1g}",
            f"samples are not distributed as the density says on axis {axis}: p = {least:.2g}",
        )
    if samples.shape[1] == 2:
        first, second = (torch.tanh((samples[:, n] - grid.centre[n]) / grid.scale[n]) for n in (0, 1))
        a, b = (torch.tanh((grid.axes[n] - grid.centre[n]) / grid.scale[n]) for n in (0, 1))
        expected = float((mass * a[:, None] * b).sum() / mass.sum())
        mixed = first * second
        error = float(mixed.std() / math.sqrt(len(mixed)))
        within_errors(float(mixed.mean()), expected, error, "the samples' mixed moment E[tanh z1 tanh z2]")
    return f"p = {least:.2g}"


def _double(subject: Subject, latent: int, seed: int = 0) -> tuple[LatentModel, Batch]:
    model = subject.build(latent=latent, seed=seed, double=True)[0].eval()
    return model, subject.batch(model)


def _prior_samples(model: LatentModel, count: int) -> Tensor:
    with torch.no_grad(), keyed(7, model):
        return torch.cat(model.prior_sample(count), -1)


def _prior_density(model: LatentModel) -> Density:
    def density(z: Tensor) -> Tensor:
        batch = Batch(images(model.spec, 1).to(model.dtype))
        with torch.no_grad():
            return model.log_prior(batch, (z[:, None],)).sum(0)[:, 0]

    return density


@PROOFS.add("density integrates to 1", "prior")
def prior_normalised(subject: Subject) -> str:
    """The integral of p(z) over a grid is 1, in 1 and 2 dimensions."""
    figures = []
    for latent in (1, 2):
        model, _ = _double(subject, latent)
        samples = _prior_samples(model, 2000)
        if samples.shape[1] != latent:
            raise NotRun("the latents of a hierarchy are not on one grid")
        found, _, _ = integral(_prior_density(model), samples)
        figures.append(close_to(found, 1.0, 0.005, f"the integral of exp log_density in {latent}-D"))
    return ", ".join(figures)


@PROOFS.add("samples as density", "prior")
def prior_samples(subject: Subject) -> str:
    """sample(n) is distributed as log_density says: Kolmogorov-Smirnov on each axis, and a mixed moment; false alarm
    1e-6.
    """
    figure = ""
    for latent in (1, 2):
        model, _ = _double(subject, latent)
        samples = _prior_samples(model, subject.count(20000))
        if samples.shape[1] != latent:
            raise NotRun("the latents of a hierarchy are not on one grid")
        _, grid, mass = integral(_prior_density(model), samples)
        figure = same_distribution(samples, grid, mass)
    return figure


@PROOFS.add("closed-form KL", "prior", "posterior", "variant")
def closed_form_kl(subject: Subject) -> str:
    """kl(q) summed over groups and dimensions = E_q[log q - log p], for every image."""
    model, batch = _double(subject, 3)
    with torch.no_grad():
        q = model.posterior(batch)
        kl = model.kl(batch, q)
        if kl is None:
            raise NotRun("it has none: Monte Carlo is used")
        with keyed(11, model, batch):
            draws = model.draw_from(q, batch, subject.count(40000))
            difference = (draws.log_posterior - draws.log_prior).sum(0)
    figures = []
    for n in range(3):
        error = float(difference[:, n].std() / math.sqrt(len(difference)))
        figures.append(within_errors(float(kl[:, n].sum()), float(difference[:, n].mean()), error, f"KL of image {n}"))
    return figures[-1]


def _posterior_draws(
    subject: Subject, latent: int, count: int
) -> tuple[LatentModel, Batch, PosteriorDistribution, Latents, Tensor]:
    model, batch = _double(subject, latent)
    with torch.no_grad():
        with keyed(13, model, batch):
            q = model.posterior(batch)
        with keyed(17, model, batch):
            draws = model.draw_from(q, batch, count)
    return model, batch, q, draws.z, draws.log_posterior


@PROOFS.add("E[h/q] = 1", "posterior", "variant")
def narrow(subject: Subject) -> str:
    """E_q[h(z) / q(z|x)] = 1 for a narrow normalised h about a point of q: holds for any q, also one that scores only
    its own.
    """
    _, _, _, z, log_q = _posterior_draws(subject, 2, subject.count(80000))
    flat = torch.cat(z, -1)
    figures = []
    for n in range(flat.shape[1]):
        points = flat[:, n]
        spread = points.std(0).clamp(min=1e-6)
        h = DiagonalGaussian(points.median(0).values, (0.4 * spread).log())
        ratio = (h.log_density(points) - log_q[:, :, n].sum(0)).exp()
        error = float(ratio.std() / math.sqrt(len(ratio)))
        if error > 0.05:
            raise NotRun(f"too noisy to tell: +- {error:.2g}")
        figures.append(within_errors(float(ratio.mean()), 1.0, error, f"E_q[h/q] of image {n}"))
    return f"{float(ratio.mean()):.4f}"


@PROOFS.add("scores its own samples", "posterior", "variant")
def scores_own(subject: Subject) -> str:
    """log_prob(z) of the posterior's own samples = the log q that came with them."""
    _, _, q, z, log_q = _posterior_draws(subject, 3, 200)
    with torch.no_grad():
        again = q.log_prob(z)
    if again is None:
        raise NotRun("it can score only its own samples")
    must(
        again.shape == log_q.shape,
        str(list(again.shape)),
        f"log_prob must be {list(log_q.shape)}, got {list(again.shape)}",
    )
    off = float((again - log_q).abs().max())
    return must(off < 1e-6, f"{off:.1g}", f"log_prob(z) and rsample_and_log_prob differ by {off:.3g} nats")


@PROOFS.add("posterior on a grid", "posterior")
def posterior_grid(subject: Subject) -> str:
    """q(z|x) integrates to 1 and its samples are distributed so, in 1 and 2 dimensions, for every image."""
    figure = ""
    for latent in (1, 2):
        _, _, q, z, _ = _posterior_draws(subject, latent, subject.count(20000))
        flat = torch.cat(z, -1)
        if flat.shape[-1] != latent:
            raise NotRun("the latents of a hierarchy are not on one grid")
        for n in range(flat.shape[1]):

            def density(
                points: Tensor, n: int = n, q: PosteriorDistribution = q, images: int = flat.shape[1]
            ) -> Tensor:
                with torch.no_grad():
                    value = q.log_prob((points[:, None].expand(-1, images, -1),))
                if value is None:
                    raise NotRun("it can score only its own samples: see E[h/q]")
                return value.sum(0)[:, n]

            found, grid, mass = integral(density, flat[:, n])
            close_to(found, 1.0, 0.005, f"the integral of q(z|x) in {latent}-D")
            figure = same_distribution(flat[:, n], grid, mass)
    return figure


@PROOFS.add("samples independent", "posterior", "variant")
def independent(subject: Subject) -> str:
    """Samples of one image, and of two images, are uncorrelated: each has noise of its own."""
    _, _, _, z, _ = _posterior_draws(subject, 2, subject.count(20000))
    flat = torch.cat(z, -1)
    ranks = flat.argsort(0).argsort(0).double() / len(flat) - 0.5
    ranks = ranks * math.sqrt(12)
    count, worst = len(ranks) - 1, 0.0
    for title, product in (
        ("consecutive samples", ranks[1:] * ranks[:-1]),
        ("two images", ranks[:-1, 1:] * ranks[:-1, :-1]),
    ):
        correlation = float(product.mean(0).abs().max())
        worst = max(worst, correlation * math.sqrt(count))
        must(
            worst < ERRORS + 1,
            f"{worst:.1f} s.e.",
            f"{title} are correlated: {correlation:.3g}, {worst:.1f} standard errors",
        )
    return f"{worst:.1f} s.e."


@PROOFS.add("log-determinant", "posterior", "variant")
def log_determinant(subject: Subject) -> str:
    """log q(z|x) = log N(eps) - log |det dz/deps|, by automatic differentiation of the samples by their noise."""
    model, batch = _double(subject, 3)
    one = Batch(batch.x[:1], None, batch.index[:1] if batch.index is not None else None)
    with keyed(19, model, one), torch.no_grad():
        size = torch.cat(model.posterior(one).rsample_and_log_prob(1)[0], -1).shape[-1]
        eps = noise.normal(1, 1, size)

    def path(value: Tensor) -> Tensor:
        with noise.handed([value]):
            z, log_q = model.posterior(one).rsample_and_log_prob(1)
        scores.append(float(log_q.detach().sum()))
        return torch.cat(z, -1)[0, 0]

    scores: list[float] = []
    try:
        jacobian = torch.autograd.functional.jacobian(path, eps)[:, 0, 0]
    except ValueError as error:
        raise NotRun(f"its noise is not one normal draw of z's size: {error}") from None
    log_det = float(torch.linalg.slogdet(jacobian).logabsdet)
    zero = torch.zeros(size, dtype=eps.dtype)
    expected = float(DiagonalGaussian(zero, zero).log_density(eps[0, 0])) - log_det
    return close_to(scores[-1], expected, 1e-6 * (1 + abs(expected)), "log q(z|x)")


# Likelihoods


def _alone(subject: Subject, spec_shape: tuple[int, ...]) -> LatentModel:
    return subject.build(shape=spec_shape, double=True, overrides={"encoder": "linear", "decoder": "linear"})[0].eval()


def _values(spec: DataSpec) -> Tensor | None:
    """Every value that a pixel can take; None where they are not countable."""
    if spec.measure == "binary":
        return torch.tensor([0.0, 1.0], dtype=torch.float64)
    if spec.measure == "discrete":
        return torch.arange(LEVELS, dtype=torch.float64) / (LEVELS - 1)
    return torch.arange(400, dtype=torch.float64) if spec.measure == "counts" else None


def _parameters(model: LatentModel, count: int) -> Tensor:
    with noise.stream(23, dtype=torch.float64):
        return 1.5 * noise.normal(1, count, *model.likelihood.parameter_shape)


def _density_of(model: LatentModel, parameters: Tensor) -> Density:
    """log p(x) of points [N, pixels] under one image's parameters."""

    def density(points: Tensor) -> Tensor:
        x = points.view(-1, *model.spec.shape)
        with torch.no_grad():
            return model.likelihood.log_prob(x, parameters.expand(1, len(x), *parameters.shape[2:]))[0]

    return density


@PROOFS.add("sums to 1", "likelihood")
def likelihood_normalised(subject: Subject) -> str:
    """p(x|z) of one and of two pixels, summed over every value or integrated over a grid, is 1."""
    worst = 0.0
    for pixels in (1, 2):
        model = _alone(subject, (1, 1, pixels))
        values = _values(model.spec)
        for parameters in _parameters(model, 6).unbind(1):
            density = _density_of(model, parameters[:, None])
            if values is not None:
                points = torch.cartesian_prod(*[values] * pixels).view(-1, pixels)
                found = float(density(points).exp().sum())
            else:
                found, _, _ = integral(density, _likelihood_samples(model, parameters[:, None], 2000))
            close_to(found, 1.0, 0.005 if values is None else 1e-4, f"the total probability of {pixels} pixels")
            worst = max(worst, abs(found - 1))
    return f"1 within {worst:.1g}"


def _likelihood_samples(model: LatentModel, parameters: Tensor, count: int) -> Tensor:
    with torch.no_grad(), noise.stream(29, dtype=torch.float64):
        try:
            drawn = model.likelihood.sample(parameters[0].expand(count, *parameters.shape[2:]))
        except NotImplementedError:
            mean = model.likelihood.mean(parameters[0])
            return mean.flatten(1) + noise.normal(count, mean[0].numel())
    return drawn.flatten(1)


@PROOFS.add("samples as density", "likelihood")
def likelihood_samples(subject: Subject) -> str:
    """sample(parameters) is distributed as log_prob says (chi-square or Kolmogorov-Smirnov, false alarm 1e-6), mean is
    its mean.
    """
    if type(_alone(subject, (1, 1, 1)).likelihood).sample is Likelihood.sample:
        raise NotRun("it has no sample(parameters)")
    figure = ""
    for pixels in (1, 2):
        model = _alone(subject, (1, 1, pixels))
        values = _values(model.spec)
        for parameters in _parameters(model, 3).unbind(1):
            chosen = parameters[:, None]
            samples = _likelihood_samples(model, chosen, subject.count(20000))
            density = _density_of(model, chosen)
            if values is None:
                _, grid, mass = integral(density, samples)
                figure = same_distribution(samples, grid, mass)
            else:
                points = torch.cartesian_prod(*[values] * pixels).view(-1, pixels)
                figure = _chi_square(samples, points, density(points).exp())
            with torch.no_grad():
                mean = model.likelihood.mean(chosen[0]).flatten()
            for n in range(pixels):
                error = float(samples[:, n].std() / math.sqrt(len(samples)))
                within_errors(float(mean[n]), float(samples[:, n].mean()), error, "mean(parameters)", 1e-4)
    return figure


def _chi_square(samples: Tensor, points: Tensor, probability: Tensor) -> str:
    nearest = torch.cdist(samples, points)
    must(float(nearest.amin(1).max()) < 1e-6, "outside", "samples take values that the measure does not have")
    counts = torch.bincount(nearest.argmin(1), minlength=len(points)).double()
    expected = probability / probability.sum() * len(samples)
    likely = expected >= 10
    found = torch.cat([counts[likely], counts[~likely].sum().view(1)])
    wanted = torch.cat([expected[likely], expected[~likely].sum().view(1)]).clamp(min=1e-9)
    statistic = (
        float(((found - wanted).square() / wanted.clamp(min=1e-3)).sum())
        if float(wanted[-1]) > 5
        else float(((found - wanted).square() / wanted)[:-1].sum())
    )
    p = float(stats.chi2.sf(statistic, max(1, int(likely.sum()))))
    return must(p > FALSE_ALARM, f"p = {p:.1g}", f"samples are not distributed as log_prob says: p = {p:.2g}")


@PROOFS.add("extremes", "likelihood")
def extremes(subject: Subject) -> str:
    """log p(x|z) is finite in float32, with finite gradients, for parameters of +-30: nothing overflows and nothing is
    clamped.
    """
    model = subject.build()[0]
    x = images(model.spec, 2)
    for size in (-30.0, 30.0):
        parameters = torch.full((1, 2, *model.likelihood.parameter_shape), size, requires_grad=True)
        value = model.likelihood.log_prob(x, parameters)
        must(
            bool(value.isfinite().all()),
            str(value.flatten()[0].item()),
            f"log p(x|z) is not finite at parameters of {size:g}",
        )
        (slope,) = torch.autograd.grad(value.sum(), parameters)
        must(bool(slope.isfinite().all()), "gradient", f"the gradient is not finite at parameters of {size:g}")
    return "finite"


@PROOFS.add("decoder normalised", "decoder")
def decoder_normalised(subject: Subject) -> str:
    """The sum of p(x|z) over all images of 2x2 binary pixels is 1: a decoder that sees x may use only the pixels
    before.
    """
    from vaezoo.core.parts import asked

    model = subject.build()[0]
    if not any(name == "x" for name, _ in asked(model.decoder.forward, 1)):
        raise NotRun("it does not ask for x, so its pixels are independent given z")
    model = subject.build(shape=(1, 2, 2), double=True, overrides={"encoder": "linear"})[0].eval()
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4).view(-1, 1, 2, 2)
    with noise.stream(31, dtype=torch.float64), torch.no_grad():
        z = noise.normal(1, 1, 2).expand(1, 16, 2)
        found = float(model.log_likelihood(Batch(every, None, torch.arange(16)), (z,)).exp().sum())
    return close_to(found, 1.0, 1e-6, "the total probability of all 16 images")
