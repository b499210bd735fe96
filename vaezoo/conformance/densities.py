"""Proofs of p(z) and q(z|x): normalised, with samples that follow them, right log-determinants and closed forms."""

import math
from unittest.mock import patch

import torch
from torch import Tensor

from vaezoo.conformance.grid import Density, Grid, over
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, keyed, rows
from vaezoo.conformance.verdict import ERRORS, NotRun, close_to, must, within_errors
from vaezoo.core import noise
from vaezoo.core.contracts import Latents, PosteriorDistribution
from vaezoo.core.draws import Batch
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.model import LatentModel
from vaezoo.core.requests import requests_of

BLOCK = 20000
"""Samples drawn at a time."""
KL_BLOCKS = 40
"""Blocks of samples of which each gives a KL and a mean of log q - log p: a KL of several groups varies with them."""


def _double(subject: Subject, latent: int, seed: int = 0) -> tuple[LatentModel, Batch]:
    model = subject.build(latent=latent, seed=seed, double=True, altered=True)[0].eval()
    return model, subject.batch(model)


def _on_a_line_or_plane(z: Latents) -> Tensor:
    """All latent groups, concatenated. [N, 1 or 2]"""
    flat = torch.cat(z, -1)
    if flat.shape[-1] > 2:
        raise NotRun(f"{flat.shape[-1]} latents are too many for a grid")
    return flat


def _prior_on_grid(subject: Subject, latent: int, count: int, training: bool = False) -> tuple[Grid, Tensor]:
    """A prior's density, of one context, and samples. training: the density of the first training image."""
    model, _ = _double(subject, latent)
    batch = subject.batch(model, 1, training=training)
    with torch.no_grad(), keyed(7, model):
        z = model.prior_sample(count, None if batch.context is None else batch.context.expand(count, -1))
    sizes = [group.shape[-1] for group in z]

    def density(points: Tensor) -> Tensor:
        """log p(z) at points of the grid."""
        with torch.no_grad():
            return model.log_prior(batch, tuple(p[:, None] for p in points.split(sizes, -1))).sum(0)[:, 0]

    flat = _on_a_line_or_plane(z)
    return Grid(density, flat), flat


@PROOFS.add("density integrates to 1", "prior")
def prior_normalised(subject: Subject) -> str:
    """The integral of p(z) over a grid is 1, in 1 and 2 dimensions; also that of a training image, where p(z) depends
    on its index.
    """

    def one(latent: int) -> str:
        """The integral in this many dimensions."""
        grid, _ = _prior_on_grid(subject, latent, 2000)
        figure = f"{grid.integral(f'the integral of exp log_density in {latent}-D'):.4f}"
        if _depends_on_index(subject):
            grid, _ = _prior_on_grid(subject, latent, 2000, training=True)
            grid.integral(f"the integral of exp log_density in {latent}-D of a training image")
        return figure

    return over((1, 2), one)


def _depends_on_index(subject: Subject) -> bool:
    """Whether the prior requests the index of the images."""
    requested = requests_of("prior", subject.build()[0].prior)
    return any(name == "index" for names in requested.values() for name, _ in names)


@PROOFS.add("samples as density", "prior")
def prior_samples(subject: Subject) -> str:
    """sample(n) is distributed as log_density says: Kolmogorov-Smirnov on each axis, and mixed moments; false alarm
    1e-6.
    """

    def one(latent: int) -> str:
        grid, samples = _prior_on_grid(subject, latent, subject.count(20000))
        return grid.same_distribution(samples)

    return over((1, 2), one)


@PROOFS.add("closed-form KL", "prior", "posterior", "variant")
def closed_form_kl(subject: Subject) -> str:
    """kl(q), or the mean of kl(q, z), summed over groups and dimensions = E_q[log q - log p], for every image."""
    for each in subject.in_each_variant():
        try:
            model, batch = _double(each, 3)
        except NotRun as reason:
            why = str(reason)
            continue
        why = "it has none: Monte Carlo is used"
        with torch.no_grad(), keyed(11, model, batch):
            if model.draw(batch, 1).kl is not None:
                return _same_kl(model, batch, subject.count(40000) // KL_BLOCKS)
    raise NotRun(why)


def _same_kl(model: LatentModel, batch: Batch, samples: int) -> str:
    """Compare the KL with the mean of log q - log p in KL_BLOCKS blocks of samples."""
    with torch.no_grad():
        with keyed(11, model, batch):
            q = model.posterior(batch)
        apart, every = [], []
        for block in range(KL_BLOCKS):
            with keyed(11, model, batch, first=block * samples):
                draws = model.draw_from(q, batch, samples)
                every.append(draws.kl_estimate)
            apart.append(every[-1] - (draws.log_posterior - draws.log_prior).sum(0).mean(0))
    kl, off = torch.stack(every).mean(0), torch.stack(apart)
    figures = []
    for n in range(3):
        error = float(off[:, n].std() / math.sqrt(KL_BLOCKS))
        expected = float(kl[n] - off[:, n].mean())
        figures.append(within_errors(float(kl[n]), expected, error, f"KL of image {n}"))
    return figures[-1]


def _posterior_draws(
    subject: Subject, latent: int, count: int
) -> tuple[LatentModel, Batch, PosteriorDistribution, Latents, Tensor]:
    """K samples of three images and their log q [L, K, B], drawn in blocks."""
    model, batch = _double(subject, latent)
    groups, log_q = [], []
    with torch.no_grad():
        with keyed(13, model, batch):
            q = model.posterior(batch)
        for first in range(0, count, BLOCK):
            with keyed(17, model, batch, first=first):
                draws = model.draw_from(q, batch, min(BLOCK, count - first))
            groups.append(draws.z)
            log_q.append(draws.log_posterior)
    z = tuple(torch.cat(blocks) for blocks in zip(*groups, strict=True))
    return model, batch, q, z, torch.cat(log_q, 1)


@PROOFS.add("E[h/q] = 1", "posterior", "variant")
def narrow(subject: Subject) -> str:
    """E_q[h(z) / q(z|x)] = 1 for a narrow normalised h about a point of q: holds for any q, also for one that
    scores only its own samples.
    """
    quantiles = torch.tensor([0.16, 0.5, 0.84], dtype=torch.float64)

    def one(latent: int) -> str:
        """The proof in this many dimensions."""
        _, _, _, z, log_q = _posterior_draws(subject, latent, subject.count(400000))
        flat = torch.cat(z, -1)
        for n in range(flat.shape[1]):
            points = flat[:, n]
            lower, centre, upper = torch.quantile(points, quantiles, dim=0)
            h = DiagonalGaussian(centre, (0.15 * (upper - lower).clamp(min=1e-6)).log())
            ratio = (h.log_density(points) - log_q[:, :, n].sum(0)).exp()
            error = float(ratio.std() / math.sqrt(len(ratio)))
            if error > 0.05:
                raise NotRun(f"too noisy to tell: +- {error:.2g}")
            within_errors(float(ratio.mean()), 1.0, error, f"E_q[h/q] of image {n} in {latent}-D")
        return f"{float(ratio.mean()):.4f}"

    return over((1, 2), one)


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
    off = float(((again - log_q).abs() / (1 + log_q.abs())).max())
    return must(off < 1e-6, f"{off:.1g}", f"log_prob(z) and rsample_and_log_prob differ by {off:.3g} nats")


@PROOFS.add("posterior on a grid", "posterior")
def posterior_grid(subject: Subject) -> str:
    """q(z|x) integrates to 1 and its samples are distributed so, in 1 and 2 dimensions, for every image."""

    def one(latent: int) -> str:
        """The proof in this many dimensions."""
        model, batch, _, z, _ = _posterior_draws(subject, latent, subject.count(20000))
        flat, sizes = _on_a_line_or_plane(z), [group.shape[-1] for group in z]
        for n in range(flat.shape[1]):
            one = rows(batch, slice(n, n + 1))
            with torch.no_grad(), keyed(13, model, one):
                q = model.posterior(one)
            grid = Grid(_density_of_image(q, sizes), flat[:, n])
            grid.integral(f"the integral of q(z|x) in {latent}-D")
            figure = grid.same_distribution(flat[:, n])
        return figure

    return over((1, 2), one)


def _density_of_image(q: PosteriorDistribution, sizes: list[int]) -> Density:
    """log q(z|x) of a batch of one image, points [N, Z] -> [N]."""

    def density(points: Tensor) -> Tensor:
        """log q(z|x) at points of the grid."""
        with torch.no_grad():
            value = q.log_prob(points[:, None].split(sizes, -1))
        if value is None:
            raise NotRun("it can score only its own samples: see E[h/q]")
        return value.sum(0)[:, 0]

    return density


@PROOFS.add("samples independent", "posterior", "variant")
def independent(subject: Subject) -> str:
    """Samples of one image, and of two images, are uncorrelated: each has noise of its own."""
    _, _, _, z, _ = _posterior_draws(subject, 2, subject.count(20000))
    flat = torch.cat(z, -1)
    apart = min(len(column.unique()) for column in flat.flatten(1).T)
    must(apart > len(flat) // 2, f"{apart} values", f"{len(flat)} samples of one image hold only {apart} values")
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
    for n in range(3):
        one = rows(batch, slice(n, n + 1))
        for seed in (19, 20, 21, 22):
            found, expected = _by_change_of_variables(model, one, seed)
            figure = close_to(found, expected, 1e-6 * (1 + abs(expected)), f"log q(z|x) of image {n}")
    return figure


def _by_change_of_variables(model: LatentModel, one: Batch, seed: int) -> tuple[float, float]:
    """log q of one sample of one image: as the posterior reports it, and from its noise by the change of variables."""
    taken: list[Tensor] = []
    draw = noise.normal

    def record(*shape: int) -> Tensor:
        taken.append(draw(*shape))
        return taken[-1]

    with keyed(seed, model, one), torch.no_grad(), patch.object(noise, "normal", record):
        z, _ = model.posterior(one).rsample_and_log_prob(1)
    size = sum(group.numel() for group in z)
    if sum(eps.numel() for eps in taken) != size:
        drawn = [list(eps.shape) for eps in taken]
        raise NotRun(f"its {size} latents are no function of {size} normal numbers alone: it drew {drawn}")
    eps = torch.cat([each.flatten() for each in taken])
    scores: list[float] = []

    def path(value: Tensor) -> Tensor:
        """The samples of given noise; their log q goes to `scores`."""
        parts = value.split([each.numel() for each in taken])
        with noise.given_normals([part.view(each.shape) for part, each in zip(parts, taken, strict=True)]):
            z, log_q = model.posterior(one).rsample_and_log_prob(1)
        scores.append(float(log_q.detach().sum()))
        return torch.cat([group.flatten() for group in z])

    jacobian = torch.autograd.functional.jacobian(path, eps)
    log_det = float(torch.linalg.slogdet(jacobian).logabsdet)
    zero = torch.zeros(size, dtype=eps.dtype)
    return scores[-1], float(DiagonalGaussian(zero, zero).log_density(eps)) - log_det
