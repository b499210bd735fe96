"""Proofs of p(z) and q(z|x) in few dimensions: normalised, with samples that follow them, and closed forms."""

import math

import torch
from torch import Tensor

from vaezoo.conformance.codes import Codes
from vaezoo.conformance.grid import Grid, over
from vaezoo.conformance.laws import (
    Law,
    in_each_volume,
    posterior_draws,
    posterior_law,
    prior_law,
    sizes_of,
    small_model,
)
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, jitter, keyed
from vaezoo.conformance.verdict import ERRORS, NotRun, must, within_errors
from vaezoo.core.contracts import Latents, PosteriorDistribution, supports
from vaezoo.core.draws import Batch
from vaezoo.core.errors import Skip
from vaezoo.core.model import LatentModel
from vaezoo.core.requests import requests_of
from vaezoo.training.updates import updated_buffers

UPDATES = 90
"""Calls of update before samples and density are compared again."""
KL_BLOCKS = 40
"""Blocks of samples of which each gives a KL and a mean of log q - log p: a KL of several groups varies with them."""


def _integral(law: Law, what: str) -> str:
    """The figure of a law's integral over a grid, or of its sum over codes."""
    if law.discrete:
        return Codes(law.density, law.samples).total(what)
    return f"{Grid(law.density, _few(law.samples)).integral(what):.4f}"


def _same(law: Law) -> str:
    """The figure of the comparison of a law's samples with its density."""
    if law.discrete:
        return Codes(law.density, law.samples).same_frequencies()
    return Grid(law.density, _few(law.samples)).same_distribution(law.samples)


def _few(samples: Tensor) -> Tensor:
    if samples.shape[-1] > 2:
        raise NotRun(f"{samples.shape[-1]} latents are too many for a grid")
    return samples


@PROOFS.add("density integrates to 1", "prior")
def prior_normalised(subject: Subject) -> str:
    """The integral of p(z) over a grid, or its sum over discrete codes, is 1, in 1 and 2 dimensions; also that of a
    training image, where p(z) depends on its index.

    At 6 standard errors of 12 grids: false alarm 1e-4.
    """

    def one(dimensions: int) -> str:
        """The integral in this many dimensions."""
        model, batch = small_model(subject, sizes_of(subject, dimensions))
        what = f"the integral of exp log_density in {dimensions}-D"

        def integral(hyperbolic: bool) -> str:
            """With respect to one of the volumes."""
            figure = _integral(prior_law(model, batch, 2000, hyperbolic=hyperbolic), what)
            if _depends_on_index(model):
                law = prior_law(model, batch, 2000, training=True, hyperbolic=hyperbolic)
                _integral(law, f"{what} of a training image")
            return figure

        return in_each_volume(supports(model.prior, len(model.latents or (1,))), integral)

    return over((1, 2), one)


def _depends_on_index(model: LatentModel) -> bool:
    """Whether the prior requests the index of the images."""
    requested = requests_of("prior", model.prior)
    return any(name == "index" for names in requested.values() for name, _ in names)


@PROOFS.add("samples as density", "prior")
def prior_samples(subject: Subject) -> str:
    """sample(n) is distributed as log_density says: Kolmogorov-Smirnov on each axis, and mixed moments, or chi-square
    of discrete codes. Where it has update(draws), also after 90 of them, when all weights have changed.

    Of each test: false alarm 1e-6.
    """

    def one(dimensions: int) -> str:
        """The comparison in this many dimensions."""
        model, batch = small_model(subject, sizes_of(subject, dimensions))
        kinds = supports(model.prior, len(model.latents or (1,)))

        def same() -> str:
            return in_each_volume(kinds, lambda h: _same(prior_law(model, batch, subject.count(20000), hyperbolic=h)))

        figure = same()
        if callable(getattr(model.prior, "update", None)):
            _updated(model, batch)
            same()
        return figure

    return over((1, 2), one)


@torch.no_grad()
def _updated(model: LatentModel, batch: Batch) -> None:
    """Update the prior UPDATES times, so that averages that move slowly arrive; change all weights after each of the
    last three, so that no average is that of the weights of now.
    """
    for seed in range(UPDATES):
        with keyed(seed, model, batch):
            new = updated_buffers({"prior": model.prior}, model.draw(batch, 1))
        for name, value in new.items():
            model.prior.get_buffer(name.removeprefix("prior.")).copy_(value)
        if seed >= UPDATES - 3:
            jitter(model, 100 + seed)


@PROOFS.add("closed-form KL", "prior", "posterior", "variant")
def closed_form_kl(subject: Subject) -> str:
    """kl(q), or the mean of kl(q, z), summed over groups and dimensions = E_q[log q - log p], for every image, in one
    latent group, or in two and in three; of several groups once for each kind of q, drawn from the top down or from the
    bottom up.

    At 5 standard errors of 40 blocks: false alarm 1e-4.
    """
    figures, why = [], ""
    for latents in (3, (2, 1, 2)) if subject.grouped else (3,):
        seen: set[tuple[type, bool]] = set()
        for each in subject.in_each_variant():
            try:
                model, batch = small_model(each, latents)
                with torch.no_grad(), keyed(11, model, batch):
                    q = model.posterior(batch)
                    kind = type(q), getattr(q, "bottom_up", False)
                    known = kind not in seen and model.draw(batch, 1).kl is not None
            except (NotRun, Skip) as reason:
                why = why or str(reason)
                continue
            why = "it has none: Monte Carlo is used"
            if known:
                seen.add(kind)
                figures.append(_same_kl(model, batch, subject.count(40000) // KL_BLOCKS))
            if latents == 3 and known:
                break
    if not figures:
        raise NotRun(why)
    return ", ".join(figures)


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


@PROOFS.add("scores its own samples", "posterior", "variant")
def scores_own(subject: Subject) -> str:
    """log_prob(z) of the posterior's own samples = the log q that came with them, within 1e-6; where it has `gaussian`,
    log_prob(z) is that Gaussian's, also 10 and 100 standard deviations from its mean.

    Nothing is random: false alarm 0.
    """

    def one(latents: tuple[int, ...]) -> str:
        """In groups of these sizes."""
        model, batch = small_model(subject, latents)
        q, z, log_q = posterior_draws(model, batch, 200)
        with torch.no_grad():
            again = q.log_prob(z)
        if again is None:
            raise NotRun("it can score only its own samples")
        same = again.shape == log_q.shape
        must(same, str(list(again.shape)), f"log_prob must be {list(log_q.shape)}, got {list(again.shape)}")
        off = float(((again - log_q).abs() / (1 + log_q.abs())).max())
        must(off < 1e-6, f"{off:.1g}", f"log_prob(z) and rsample_and_log_prob differ by {off:.3g} nats")
        return f"{max(off, _off_of_gaussian(q, z)):.1g}"

    return over([subject.latents(3), *([(2, 1, 2)] if subject.grouped else [])], one)


AWAY = (-100.0, -10.0, 10.0, 100.0)
"""Standard deviations from the mean at which a Gaussian posterior scores points."""


@torch.no_grad()
def _off_of_gaussian(q: PosteriorDistribution, z: Latents) -> float:
    """How far log_prob is off the Gaussian that a posterior says it is, relatively; 0 where it says none."""
    if (gaussian := q.gaussian) is None:
        return 0.0
    away = [gaussian.mean + size * gaussian.log_std.exp() for size in AWAY]
    points = torch.cat([z[0], torch.stack(away)])
    found, expected = q.log_prob((points,)), gaussian.log_density(points)
    if found is None:
        return 0.0
    off = ((found[0] - expected).abs() / (1 + expected.abs())).max(1).values
    place = int(off.argmax())
    where = "its own sample" if place < len(z[0]) else f"{AWAY[place - len(z[0])]:g} standard deviations"
    what = f"log_prob(z) and the density of `gaussian` differ by {float(off.max()):.3g}, relatively, at {where}"
    must(float(off.max()) < 1e-6, f"{float(off.max()):.1g}", what)
    return float(off.max())


@PROOFS.add("posterior on a grid", "posterior")
def posterior_grid(subject: Subject) -> str:
    """q(z|x) integrates to 1 over a grid, or its discrete codes sum to 1, and its samples are distributed so, in 1 and
    2 dimensions, for every image (in quick mode for one).

    At 6 standard errors of 12 grids: false alarm 1e-4.
    """

    def one(dimensions: int) -> str:
        """The proof in this many dimensions."""
        model, batch = small_model(subject, sizes_of(subject, dimensions))
        _, z, log_q = posterior_draws(model, batch, subject.count(20000))

        def each(hyperbolic: bool) -> str:
            """Of every image, with respect to one of the volumes."""
            for n in range(1 if subject.quick else len(batch.x)):
                law = posterior_law(model, batch, n, z, log_q, hyperbolic)
                _integral(law, f"the integral of q(z|x) in {dimensions}-D")
                figure = _same(law)
            return figure

        return in_each_volume(supports(model.posterior_net, len(z)), each)

    return over((1, 2), one)


@PROOFS.add("samples independent", "posterior", "variant")
def independent(subject: Subject) -> str:
    """Samples of one image, and of two images, are uncorrelated: each has noise of its own.

    At 6 standard errors: false alarm 1e-7.
    """
    model, batch = small_model(subject, sizes_of(subject, 2))
    _, z, _ = posterior_draws(model, batch, subject.count(20000))
    flat, count = torch.cat(z, -1), len(z[0])
    if "discrete" in supports(model.posterior_net, len(z)):
        centred = flat - flat.mean(0)
        scores = centred / centred.square().mean(0).sqrt().clamp(min=1e-9)
    else:
        apart = min(len(column.unique()) for column in flat.flatten(1).T)
        must(apart > count // 2, f"{apart} values", f"{count} samples of one image hold only {apart} values")
        scores = (flat.argsort(0).argsort(0).double() / count - 0.5) * math.sqrt(12)
    worst = 0.0
    for title, product in (
        ("consecutive samples", scores[1:] * scores[:-1]),
        ("two images", scores[:-1, 1:] * scores[:-1, :-1]),
    ):
        correlation = float(product.mean(0).abs().max())
        worst = max(worst, correlation * math.sqrt(count - 1))
        detail = f"{title} are correlated: {correlation:.3g}, {worst:.1f} standard errors"
        must(worst < ERRORS + 1, f"{worst:.1f} s.e.", detail)
    return f"{worst:.1f} s.e."
