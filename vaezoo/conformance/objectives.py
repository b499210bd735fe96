"""Proofs of objectives, on a model where log p(x) is known."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from vaezoo.conformance.claims import (
    PASSES,
    WEIGHTS,
    claims,
    claims_of,
    nearest_claim,
    off_of_passes,
    sample_counts,
    values,
)
from vaezoo.conformance.ground import (
    Ground,
    codes,
    every_draw,
    exact,
    ground,
    two_groups,
)
from vaezoo.conformance.modules import off_by
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, rows
from vaezoo.conformance.verdict import ERRORS, NotRun, must
from vaezoo.nets.dropout import Dropout
from vaezoo.training.module import TrainingModule, Values
from vaezoo.training.step import parameter_groups

STEP = 1e-4
DIRECTIONS = 6
FLOOR = 1e-5
"""A gradient may be off by the rounding of finite differences."""
OTHER_PASSES = 40


@torch.no_grad()
def _claimed_groups(place: Ground) -> tuple[str, ...]:
    """The groups of parameters for which the objective claims a formula."""
    own = place.objective.importance_samples
    given = values(place, place.images, 0, own)
    claimed = tuple(claims(place, place.images, 0, own, 1.0, given)[0])
    unknown = [group for group in claimed if group not in given]
    must(not unknown, str(unknown), f"estimates has {unknown}, forward has {list(given)}: the groups must agree")
    return claimed


def _at(samples: int, weight: float) -> str:
    return f"at K={samples} and KL weight {weight:g}"


@PROOFS.add("value as claimed", "objective")
def value_as_claimed(subject: Subject) -> str:
    """The mean of its value, or of each group's, is the mean of what it claims to estimate, in nats.

    At KL weights 0, 0.3 and 1, and at one sample, its own number and twice as many (in quick mode some pairs of these);
    at its own number also in eval mode. At a weight w the claim is the formula with log p(z) - log q(z|x) times w, or
    (1 - w) E[log p(x|z)] + w times the formula. Where it takes several latent groups, also on a model with two. Each
    mean may be off by 5 standard errors of 40 passes: false alarm 1e-4 for all eleven.
    """
    place = ground(subject)
    groups = _claimed_groups(place)
    if place.objective.surrogate:
        raise NotRun("it declares surrogate: only its gradient is what it claims")
    own = place.objective.importance_samples
    counts, remark = sample_counts(place)
    cases = [(own, weight, True) for weight in WEIGHTS]
    cases += [(other, weight, True) for other in counts[1:] for weight in (WEIGHTS[1:2] if place.quick else WEIGHTS)]
    cases.append((own, WEIGHTS[1], False))
    worst = 0.0
    for samples, weight, training in cases:
        place.model.train(training)
        place.objective.train(training)
        worst = max(worst, _value_off(place, groups, samples, weight))
    if (grouped := two_groups(subject)) is not None:
        worst = max(worst, _value_off(grouped, groups, own, 1.0))
    return f"{worst:.1f} s.e., the most of {len(cases) + (grouped is not None)}{remark}"


@torch.no_grad()
def _value_off(place: Ground, groups: Sequence[str], samples: int, weight: float) -> float:
    """By how many standard errors the mean value of the worst group is off its claim."""
    batch, claimed = place.rows, []

    def off(seed: int) -> Tensor:
        """Value - claim of a pass. [groups, claims]"""
        value = values(place, batch, seed, samples, weight)
        found = claims(place, batch, seed, samples, weight, value)
        claimed.append(torch.stack([torch.stack([each[group] for each in found]) for group in groups]))
        return torch.stack([value[group] for group in groups])[:, None] - claimed[-1]

    apart = off_of_passes(off, 1e-9)
    expected, worst = torch.stack(claimed).mean(0), 0.0
    for n, group in enumerate(groups):
        several = ", two latent groups" if len(place.model.latents or ()) > 1 else ""
        what = f"the objective's mean value ({group}) {_at(samples, weight)}{several}"
        worst = max(worst, nearest_claim(apart[:, n], expected[n], what, 1e-6))
    return worst


@PROOFS.add("gradient as claimed", "objective")
def gradient_as_claimed(subject: Subject) -> str:
    """In expectation its gradient is the derivative (finite differences) of what it claims to estimate, in random
    directions.

    Where it gives a value for each group of parameters, a group's value is tested along directions of that group alone.
    At its own number of samples and KL weights 1, 0.3 and 0, and at one sample and twice its own at 0.3. Where latents
    are codes, the claim is summed over all of their combinations, where these are few. Each slope may be off by 5
    standard errors of 40 passes: false alarm 2e-4 for all of them, 14 or fewer.
    """
    place = ground(subject)
    groups, own = _claimed_groups(place), place.objective.importance_samples
    counts, remark = sample_counts(place)
    most, few = (2, 1) if place.quick else (DIRECTIONS, 2)
    cases = [(own, 1.0, most), (own, WEIGHTS[1], few), *[(own, WEIGHTS[2], few)] * (not place.quick)]
    cases += [(samples, WEIGHTS[1], few) for samples in counts[1:]]
    worst, slopes, undecided = 0.0, 0, ""
    for group in groups:
        for samples, weight, directions in cases:
            count = max(1, directions // len(groups))
            try:
                worst = max(worst, _slopes_off(place, group, samples, weight, count))
            except NotRun as reason:  # too many codes for a sum
                undecided = str(reason)
                continue
            slopes += count
    if not slopes:
        raise NotRun(undecided)
    return f"{worst:.1f} s.e., the most of {slopes}{remark}"


def _slopes_off(place: Ground, group: str, samples: int, weight: float, count: int) -> float:
    """By how many standard errors the mean derivative by a group's parameters is off its claim, along `count` random
    directions.
    """
    parameters = parameter_groups(TrainingModule(place.model, place.objective))[group]
    start = parameters_to_vector(parameters).detach().clone()
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(count, len(start), generator=generator, dtype=start.dtype)
    directions /= directions.norm(dim=1, keepdim=True)
    batch, claimed = place.rows, []
    groups = tuple(values(place, place.images, 0, samples, weight))

    def slopes(of: Callable[[], tuple[Values, ...]]) -> Tensor:
        """The finite difference of each claim along each direction. [directions, claims]"""
        found = []
        for direction in directions:
            ends = []
            for sign in (1, -1):
                vector_to_parameters(start + sign * STEP * direction, parameters)
                ends.append(torch.stack([claim[group] for claim in of()]))
            found.append((ends[0] - ends[1]) / (2 * STEP))
        vector_to_parameters(start, parameters)
        return torch.stack(found)

    with torch.no_grad():
        summed = slopes(lambda: _summed_claims(place, samples, weight, groups)) if place.kind == "codes" else None

    def off(seed: int) -> Tensor:
        """Gradient - claim of a pass. [directions, claims]"""
        value = values(place, batch, seed, samples, weight)[group]
        gradient = torch.autograd.grad(value, parameters, allow_unused=True)
        parts = [torch.zeros_like(p) if g is None else g for g, p in zip(gradient, parameters, strict=True)]
        with torch.no_grad():
            claimed.append(
                slopes(lambda: claims(place, batch, seed, samples, weight, groups)) if summed is None else summed
            )
            return (directions @ parameters_to_vector(parts))[:, None] - claimed[-1]

    apart = off_of_passes(off, 1e-7)
    expected, worst = torch.stack(claimed).mean(0), 0.0
    for n in range(count):
        what = f"the mean gradient ({group}) along direction {n} {_at(samples, weight)}"
        worst = max(worst, nearest_claim(apart[:, n], expected[n], what, FLOOR))
    return worst


def _summed_claims(place: Ground, samples: int, weight: float, groups: Sequence[str]) -> tuple[Values, ...]:
    """The expectation of each claim over all draws of codes."""
    z = codes(place.model, place.images)
    draws, probability = every_draw(place.model, place.images, z, samples)

    def expectation(value: Tensor) -> Tensor:
        """The sum over combinations, and the mean over images, of [C * B]."""
        if value.ndim != 1:
            raise NotRun("undecided: a claim of one number for the batch cannot be summed over its draws")
        return (probability * value).sum() / len(place.images.x)

    return claims_of(place.objective, draws, samples, weight, groups, expectation)


@PROOFS.add("below log p(x)", "objective")
def below(subject: Subject) -> str:
    """The mean of a lower bound is at most log p(x), at one sample, its own number and twice as many, with a narrow q,
    two loose ones, and q the posterior, where it is tight; at KL weight 0.3 at most 0.3 log E_p[p(x|z)^(1/0.3)].

    It may exceed this by 4 standard errors of 40 passes, and by 5 where it is tight: false alarm 1e-4. Where it gives a
    value for each group, the generative one counts.
    """
    place = ground(subject)
    if not place.objective.lower_bound:
        raise NotRun("it does not declare lower_bound")
    counts, remark = sample_counts(place)
    figures = [_below(place, counts, 1.0, 4, "any q")]
    if place.kind == "linear":
        for spread, shift in ((1.5, 1.0), (3.0, 0.0)):
            exact(place.model, spread=spread, shift=shift)
            title = f"q {spread:g} times as wide as the posterior, {shift:g} standard deviations off"
            figures.append(_below(place, counts, 1.0, 4, title))
        for weight in (WEIGHTS[1], 1.0):
            exact(place.model, weight)
            figures.append(_below(place, counts, weight, ERRORS, f"the best q at KL weight {weight:g}"))
    return ", ".join(figures) + remark


@torch.no_grad()
def _below(place: Ground, counts: Sequence[int], weight: float, errors: float, title: str) -> str:
    """The largest excess over what a lower bound is at most, in nats."""
    batch, worst = place.rows, -math.inf
    truth = place.evidence(weight)
    for samples in counts:
        every = [values(place, batch, seed, samples, weight) for seed in range(PASSES)]
        group = "all" if "all" in every[0] else "generative"
        found = torch.stack([value[group] for value in every])
        mean, error = float(found.mean()), float(found.std() / math.sqrt(len(found)))
        must(
            mean <= truth + errors * error + 1e-9,
            f"{mean - truth:+.4f}",
            f"its mean at K={samples} with {title} is {mean:.5g} +- {error:.2g}, above {truth:.5g}",
        )
        worst = max(worst, mean - truth)
    return f"{worst:+.4f}"


@PROOFS.add("the same in every pass", "objective")
def same_in_every_pass(subject: Subject) -> str:
    """Its value on given draws is the same in train and in eval mode, and the same after 40 passes of other images.

    Where it holds `vaezoo.nets.Dropout`, the modes are not compared. The largest difference is the figure, relative to
    the value; nothing is random: false alarm 0.
    """
    place = ground(subject)
    own = place.objective.importance_samples
    first, others = place.rows, rows(place.images, slice(0, 2))
    worst = 0.0
    drops = any(isinstance(module, Dropout) for module in place.objective.modules())
    before = values(place, first, 3, own)
    place.objective.train(False)
    modes = {} if drops else {"in eval mode": values(place, first, 3, own)}
    place.objective.train(True)
    for seed in range(OTHER_PASSES):
        values(place, others, 100 + seed, own)
    modes["after 40 other passes"] = values(place, first, 3, own)
    for title, after in modes.items():
        for group, value in before.items():
            off = off_by(after[group], value)
            must(off < 1e-9, f"{off:.1g}", f"its value ({group}) changes by {off:.3g} {title}")
            worst = max(worst, off)
    return f"{worst:.1g}"
