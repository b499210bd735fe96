"""The ELBO that is lost because one network gives the posteriors of all images."""

import math

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.columns import Column
from vaezoo.core.draws import Batch
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._posterior import batches
from vaezoo.registry import register

COLUMNS = (
    Column("amortisation_gap", "amortisation gap (nats)", "nats"),
    Column("amortisation_gap_standard_error", "amortisation gap standard error (nats)"),
    Column("approximation_gap", "approximation gap (nats)", "nats"),
)


def _optimised(
    model: LatentModel, batch: Batch, start: DiagonalGaussian, steps: int, samples: int, rate: float, seed: int
) -> DiagonalGaussian:
    """The diagonal Gaussian of highest ELBO for each image, found by Adam from `start` in units of its std.

    The gradient goes through the samples only (Roeder et al. 2017, arXiv:1703.09194), so that it is 0 for every sample
    where q is the exact posterior. Adam's eps is large, so that rounding errors make no steps.
    """
    mean, log_std = start.mean.detach(), start.log_std.detach()
    shift, stretch = (torch.zeros_like(mean, requires_grad=True) for _ in range(2))
    optimiser = torch.optim.Adam([shift, stretch], lr=rate, eps=1e-2)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.5 * rate * (1 + math.cos(math.pi * step / steps))
        with (
            torch.enable_grad(),
            noise.stream(noise.derive(seed, "amortisation", step), index=batch.index, dtype=model.dtype),
        ):
            q = DiagonalGaussian(mean + log_std.exp() * shift, log_std + stretch)
            z = q.rsample(samples)
            log_likelihood, log_prior = model.log_joint(batch, (z,))
            log_q = DiagonalGaussian(q.mean.detach(), q.log_std.detach()).log_density(z)
            loss = -(log_likelihood + log_prior.sum(0) - log_q).mean(0).sum()
            shift.grad, stretch.grad = torch.autograd.grad(loss, (shift, stretch))
        optimiser.step()
    return DiagonalGaussian((mean + log_std.exp() * shift).detach(), (log_std + stretch).detach())


def _elbo(model: LatentModel, batch: Batch, q: DiagonalGaussian, samples: int, seed: int) -> Tensor:
    """Mean log w over fresh samples, with the same noise for every q. [B], float64"""
    total = torch.zeros(len(batch.x), dtype=torch.float64, device=model.device)
    for first in range(0, samples, 50):
        with noise.stream(noise.derive(seed, "amortisation-elbo"), index=batch.index, first=first, dtype=model.dtype):
            total += model.draw_from(q, batch, min(50, samples - first)).log_weight.double().sum(0)
    return total / samples


@register.metric("amortisation-gap", paper="Cremer et al. (2018), arXiv:1801.03558", columns=COLUMNS)
def amortisation_gap(
    model: LatentModel,
    images: Tensor,
    context: Evaluation,
    *,
    count: int = 100,
    steps: int = 300,
    samples: int = 8,
    learning_rate: float = 0.05,
    elbo_samples: int = 200,
) -> dict[str, float | None]:
    """amortisation_gap = L[q*] - L[q_phi] over the first `count` test images, in nats an image.

    L is the ELBO, q_phi the encoder's diagonal Gaussian, and q* the Gaussian of each image that Adam reaches from q_phi
    in `steps` steps of `samples` draws each. Both ELBOs are taken over the same `elbo_samples` fresh draws, so that the
    gap has no bias from its own optimisation and can be below 0. Where the exact posterior is in the family the gap is
    KL(q_phi || p(z|x)), 0 where q_phi is exact. approximation_gap = iwll - L[q*] of the same images where `iwll` was
    measured before, a lower bound in expectation: log p(x) - L[q_phi] is the sum of both gaps.
    amortisation_gap_standard_error is over images.

    A posterior that is not a Gaussian of one group gives no numbers.
    """
    names = [column.name for column in COLUMNS]
    elbos: list[tuple[Tensor, Tensor]] = []
    with evaluating(model):
        for batch in batches(model, images[:count], context, 100):
            with noise.stream(noise.derive(context.seed, "posterior"), index=batch.index, dtype=model.dtype):
                start = model.posterior(batch).gaussian
            if start is None:
                context.notes |= dict.fromkeys(names, "the posterior is not a diagonal Gaussian")
                return dict.fromkeys(names)
            start = DiagonalGaussian(start.mean, start.log_std.expand_as(start.mean))
            best = _optimised(model, batch, start, steps, samples, learning_rate, context.seed)
            elbos.append(
                (
                    _elbo(model, batch, best, elbo_samples, context.seed),
                    _elbo(model, batch, start, elbo_samples, context.seed),
                )
            )
    highest, amortised = (torch.cat(values).cpu() for values in zip(*elbos, strict=True))
    gap = highest - amortised
    context.per_image["amortisation_gap"] = gap
    iwll = context.per_image.get("iwll")
    if iwll is None:
        context.notes["approximation_gap"] = "iwll was not measured before it"
    return {
        "amortisation_gap": float(gap.mean()),
        "amortisation_gap_standard_error": float(gap.std()) / math.sqrt(len(gap)) if len(gap) > 1 else None,
        "approximation_gap": None if iwll is None else float((iwll[: len(gap)] - highest).mean()),
    }
