"""The proof that log q(z|x) and log p(z) are those of the samples' noise, by the change of variables."""

import math
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor

from vaezoo.conformance.grid import over
from vaezoo.conformance.laws import small_model
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, keyed, rows
from vaezoo.conformance.verdict import NotRun, must
from vaezoo.core import noise
from vaezoo.core.contracts import Latents, supports
from vaezoo.core.draws import Batch
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.model import LatentModel
from vaezoo.core.requests import call_with_requests

WIDE = 20
"""The latent dimensions of the proofs in many dimensions."""
TOLERANCE = 1e-6
STEP = 1e-5
SEEDS = (19, 20, 21, 22)

Draw = Callable[[], tuple[Latents, Tensor]]
"""One sample of each latent group, and its log density as the part reports it, a scalar."""


def wide_latents(subject: Subject) -> list[tuple[int, ...]]:
    """WIDE dimensions in one latent group, or in two and in three where the plugin asks for `latents`."""
    return [(12, 8), (8, 7, 5)] if subject.grouped else [(WIDE,)]


@PROOFS.add("log-determinant", "posterior", "prior", "variant")
def log_determinant(subject: Subject) -> str:
    """log q(z|x), or log p(z), = log N(eps) - log |det dz/deps|, by automatic differentiation of samples by their
    noise, in 3 and in 20 dimensions, within 1e-6.

    Nothing is random: false alarm 0.
    """
    return over([subject.latents(3), *wide_latents(subject)], lambda latents: by_jacobian(subject, latents))


def by_jacobian(subject: Subject, latents: tuple[int, ...]) -> str:
    """The largest difference of the two sides, relative to 1 + |log density|, of a few samples."""
    model, batch = small_model(subject, latents)
    if set(supports(model.prior, len(latents))) != {"real"}:
        raise NotRun("its latents are not all of R^Z: the grid and E[h/q] tell")
    prior = subject.plugin.slot == "prior"
    images = [rows(batch, slice(n, n + 1)) for n in range(1 if prior else len(batch.x))]
    found = [by_change_of_variables(model, one, seed, prior) for one in images for seed in SEEDS]
    offsets = [given - expected for given, expected in found]
    copies = math.exp(min(offsets[0], 700))
    if copies > 1.5 and max(offsets) - min(offsets) < TOLERANCE and abs(copies / round(copies) - 1) < TOLERANCE:
        raise NotRun(f"each sample seems to come from {copies:.0f} values of its noise: other proofs tell")
    worst = 0.0
    for given, expected in found:
        off = abs(given - expected) / (1 + abs(expected)) if math.isfinite(expected) else math.inf
        worst = off if not off <= worst else worst
        what = f"its log density at a sample in {sum(latents)}-D"
        must(off <= TOLERANCE, f"{off:.2g}", f"{what}: expected {expected:.8g}, found {given:.8g}")
    return f"{worst:.0g}"


def by_change_of_variables(model: LatentModel, one: Batch, seed: int, prior: bool = False) -> tuple[float, float]:
    """The log density of one sample of q(z|x) of one image, or of p(z): as the part reports it, and from its noise."""
    draw = _from_prior(model, one) if prior else _from_posterior(model, one)
    with keyed(seed, model, None if prior else one):
        return _two_sides(draw, numeric=prior)


def _from_posterior(model: LatentModel, one: Batch) -> Draw:
    """Draws from q(z|x) of one image."""

    def draw() -> tuple[Latents, Tensor]:
        """One sample."""
        z, log_q = model.posterior(one).rsample_and_log_prob(1)
        return z, log_q.sum()

    return draw


def _from_prior(model: LatentModel, one: Batch) -> Draw:
    """Draws from p(z), given one image's context."""
    parts = {"encode": lambda x: model.posterior(Batch(x, None)), "progress": one.training_progress}
    if one.context is not None:
        parts["context"] = one.context

    def draw() -> tuple[Latents, Tensor]:
        """One sample."""
        z = call_with_requests(model.prior.sample, 1, parts=parts)
        groups = tuple(group[None] for group in (z if isinstance(z, tuple) else (z,)))
        return tuple(group[0] for group in groups), model.log_prior(one, groups).sum()

    return draw


def _two_sides(draw: Draw, numeric: bool) -> tuple[float, float]:
    """The log density of one sample: as the part reports it, and from its noise by the change of variables.

    numeric: whether finite differences give the Jacobian where that of automatic differentiation does not fit, because
    samples need no gradient. NotRun where the sample is no function of as many normal numbers as it has latents.
    """
    taken: list[Tensor] = []
    normal = noise.normal

    def record(*shape: int) -> Tensor:
        """Draws normal numbers and keeps them."""
        taken.append(normal(*shape))
        return taken[-1]

    opened = noise.source().stream
    before = opened.calls if opened else 0
    with torch.no_grad(), patch.object(noise, "normal", record):
        z, _ = draw()
    if opened and opened.calls - before != len(taken):
        raise NotRun("it draws other than normal numbers: the grid, E[h/q] and the density in 20 dimensions tell")
    size = sum(group.numel() for group in z)
    if sum(eps.numel() for eps in taken) != size:
        drawn = [list(eps.shape) for eps in taken]
        raise NotRun(f"its {size} latents are no function of {size} normal numbers alone: it drew {drawn}")
    eps = torch.cat([each.flatten() for each in taken])
    scores: list[float] = []

    def path(value: Tensor) -> Tensor:
        """The samples of given noise; their log density goes to `scores`."""
        parts = value.split([each.numel() for each in taken])
        with noise.given_normals([part.view(each.shape) for part, each in zip(parts, taken, strict=True)]):
            z, score = draw()
        scores.append(float(score.detach()))
        return torch.cat([group.flatten() for group in z])

    jacobian = torch.autograd.functional.jacobian(path, eps)
    given = scores[-1]
    expected = _log_normal_over(jacobian, eps)
    fits = math.isfinite(expected) and abs(given - expected) <= TOLERANCE * (1 + abs(expected))
    if numeric and not fits:
        with torch.no_grad():
            columns = [(path(eps + way) - path(eps - way)) / (2 * STEP) for way in STEP * torch.eye(size).to(eps)]
        expected = _log_normal_over(torch.stack(columns, 1), eps)
    return given, expected


def _log_normal_over(jacobian: Tensor, eps: Tensor) -> float:
    """log N(eps; 0, I) - log |det|."""
    zero = torch.zeros_like(eps)
    return float(DiagonalGaussian(zero, zero).log_density(eps)) - float(torch.linalg.slogdet(jacobian).logabsdet)
