"""What an objective claims to estimate and what it gives, at a number of samples and a weight of the KL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor

from vaezoo.conformance.ground import Ground
from vaezoo.conformance.modules import is_shaped
from vaezoo.conformance.subject import keyed
from vaezoo.conformance.verdict import NotRun, Wrong, within_errors
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Batch, Draws
from vaezoo.training.module import Values

WEIGHTS = (1.0, 0.3, 0.0)
"""The weights of the KL that are tried."""
PASSES = 40
EQUAL = 8
"""Where the first so many passes agree but for rounding, the further ones are left out."""


class WeightedDraws(Draws):
    """The same draws with log p(z), log q(z|x) and the KL times a weight: of them a plain formula gives what an
    objective maximises at this weight.
    """

    weight: float

    @classmethod
    def of(cls, draws: Draws, weight: float) -> WeightedDraws:
        """The draws at a weight of the KL."""
        made = cls(draws.model, draws.batch, draws.q, draws.z, weight * draws.log_posterior)
        made.weight, made.plain = weight, draws
        return made

    plain: Draws

    @cached_property
    def log_likelihood(self) -> Tensor:
        """log p(x|z). [K, B]"""
        return self.plain.log_likelihood

    @cached_property
    def log_prior(self) -> Tensor:
        """w log p(z). [L, K, B]"""
        return self.weight * self.plain.log_prior

    @cached_property
    def log_posterior_stopped(self) -> Tensor:
        """w log q(z|x), its weights cut from the graph. [L, K, B]"""
        return self.weight * self.plain.log_posterior_stopped

    @cached_property
    def kl(self) -> tuple[Tensor, ...] | None:
        """w KL(q(z|x) || p(z)), [B, Z_l] for each group, or None."""
        kl = self.plain.kl
        return None if kl is None else tuple(self.weight * group for group in kl)


@contextmanager
def samples_of(objective: Objective, samples: int) -> Iterator[None]:
    """Within it the objective's importance_samples is this number."""
    own = objective.importance_samples
    objective.importance_samples = samples
    try:
        yield
    finally:
        objective.importance_samples = own


def values(ground: Ground, rows: Batch, seed: int, samples: int, weight: float = 1.0) -> Values:
    """The mean over the rows of the objective's value for each group, {"all": value} where it gives one for all."""
    with samples_of(ground.objective, samples), keyed(seed, ground.model, rows):
        draws = ground.model.draw(rows, samples)
        draws.kl_weight = rows.x.new_tensor(weight)
        value = ground.objective(draws)
    if not is_shaped(value, len(rows.x)):
        raise Wrong(f"K={samples}", f"an objective gives [B={len(rows.x)}], or a scalar, for each group")
    each = value if isinstance(value, dict) else {"all": value}
    return {group: part.mean() for group, part in each.items()}


Mean = Callable[[Tensor], Tensor]


def claims(
    ground: Ground, rows: Batch, seed: int, samples: int, weight: float, groups: Iterable[str]
) -> tuple[Values, ...]:
    """The mean over the rows of what the objective claims to estimate, for each of its groups that has a claim.

    At a weight w below 1 there are two claims, of which one must hold: the formula of draws whose log p(z), log q(z|x)
    and KL are w times theirs, and (1 - w) E[log p(x|z)] + w times the formula.
    """
    with keyed(seed, ground.model, rows):
        return claims_of(ground.objective, ground.model.draw(rows, samples), samples, weight, groups, Tensor.mean)


def claims_of(
    objective: Objective, draws: Draws, samples: int, weight: float, groups: Iterable[str], mean: Mean
) -> tuple[Values, ...]:
    """`claims` of these draws. mean: the mean over the rows."""

    def formula(of: Draws) -> Values:
        """What is claimed of these draws, for each group."""
        with samples_of(objective, samples):
            claimed = objective.estimates(of)
        if claimed is None:
            raise NotRun("it makes no claim: write estimates(draws)")
        if not isinstance(claimed, dict):
            claimed = {group: claimed for group in groups if group != "own"}
        return {group: mean(value) for group, value in claimed.items()}

    if weight == 1:
        return (formula(draws),)
    reconstruction = mean(draws.log_likelihood.mean(0))
    plain = {group: (1 - weight) * reconstruction + weight * value for group, value in formula(draws).items()}
    return formula(WeightedDraws.of(draws, weight)), plain


@torch.no_grad()
def sample_counts(ground: Ground) -> tuple[list[int], str]:
    """Its own number of samples, one, and twice its own; and a remark on those of them that are left out, with what the
    objective raised: an objective of pairs of samples takes even numbers alone.
    """
    own = ground.objective.importance_samples
    taken, remark = [own], ""
    for samples in sorted({1, 2 * own} - {own}):
        try:
            found = values(ground, ground.images, 0, samples)
        except Exception as error:  # whatever a plugin raises: the figure says it
            reason = (str(error).splitlines() or [type(error).__name__])[0]
        else:
            if all(bool(value.isfinite()) for value in found.values()):
                taken.append(samples)
                continue
            reason = "its value is not finite"
        remark += f"; not at K={samples}: {reason}"
    return taken, remark


def off_of_passes(one_pass: Callable[[int], Tensor], rounding: float) -> Tensor:
    """By how much the value of each of PASSES passes is off several claims; of EQUAL passes alone where it is off one
    of them by rounding only. [passes, ..., claims]
    """
    found = [one_pass(seed) for seed in range(EQUAL)]
    largest = torch.stack(found).abs().flatten(0, -2).amax(0)
    if not float(largest.min()) <= rounding:
        found += [one_pass(seed) for seed in range(EQUAL, PASSES)]
    return torch.stack(found)


def nearest_claim(off: Tensor, expected: Tensor, what: str, floor: float) -> float:
    """How many standard errors the mean is off the nearest of several claims. Wrong where it is off all of them.

    off: value - claim of each pass. [passes, claims]. expected: the mean of each claim. [claims]
    """
    mean, error = off.mean(0), off.std(0) / math.sqrt(len(off))
    beyond = ((mean.abs() - floor).clamp(min=0) / error.clamp(min=1e-300)).nan_to_num(nan=math.inf)
    best = int(beyond.argmin())
    found = float(expected[best] + mean[best])
    figure = within_errors(found, float(expected[best]), float(error[best]), what, floor)
    return float(figure.split()[0])
