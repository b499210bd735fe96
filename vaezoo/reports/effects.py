"""What each choice does to the iwll of a matrix whose rows cross settings: main effects, interactions, variance shares.

All rows of a data set share their seeds: a seed is a block. An effect is computed in each seed from the numbers of that
seed alone, so that what a seed does to all rows cancels; the variance of the effect over the seeds, which is its
interaction with them, is its error. Student's t with S - 1 degrees of freedom is exact for normal noise, whatever its
variance in each row and its correlation between rows: a prior that is far noisier than the others, or one whose rows
rise and fall together with the seed, costs no false alarm. An error that is pooled over rows has more degrees of
freedom and neither property. Holm's correction holds for all main effects of a data set together, and for all
interactions together. The two effects of an axis with two levels are one test.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import numpy as np

from vaezoo.core.columns import QUALITY
from vaezoo.reports.contrasts import Term, shares, terms
from vaezoo.reports.crossing import NO_CROSSING, Axis, Crossing, crossing
from vaezoo.reports.ranking import rank
from vaezoo.reports.rows import TableRow, dataset_rows
from vaezoo.reports.standings import FEW_SEEDS
from vaezoo.reports.statistics import ROUNDING, SIGNIFICANT, Paired, Summary, holm, over_seeds, summarise
from vaezoo.runner.results import read_results

NEEDED = (
    "an effects table needs rows that cross two settings or more: (nearly) every combination of their values, measured "
    "alike and with the same seeds, as a [variants.sweep] of two keys gives"
)
IWLL = next(column for column in QUALITY if column.name == "iwll")


@dataclass(frozen=True)
class Effect:
    """What one level of an axis adds to the iwll, or the levels of two axes together beyond their own effects, in nats.

    axes, levels: one of each (a main effect) or two (an interaction). found: its mean over the seeds, with the 95 %
    interval, which is infinite for one seed. p: after Holm's correction over its family, None for one seed. rows: how
    many have these levels.
    """

    axes: tuple[str, ...]
    levels: tuple[str, ...]
    found: Paired
    p: float | None
    rows: int

    @property
    def is_told(self) -> bool:
        """Whether it is told from 0."""
        return self.p is not None and self.p <= SIGNIFICANT

    @property
    def verdict(self) -> str:
        """`higher`, `lower`, `too few seeds`, or with many seeds `not told from 0`."""
        if self.is_told:
            return "higher" if self.found.mean > 0 else "lower"
        return "too few seeds" if self.found.count <= FEW_SEEDS else "not told from 0"


class MainEffect(Effect):
    """The mean of the rows with this level minus the mean of the axis's levels: those of an axis sum to 0."""


class Interaction(Effect):
    """The mean of the rows with both levels minus what the mean and the two main effects add up to."""


AnyEffect = TypeVar("AnyEffect", bound=Effect)


@dataclass(frozen=True)
class Share:
    """The share of the variance of the iwll that an axis, two axes together, `further interactions` or the `seeds`
    explain: see `contrasts.shares`. A component that was estimated below 0 counts as 0.
    """

    name: str
    share: float


@dataclass(frozen=True)
class Combination:
    """The row with the best mean validation iwll: its level on each axis, and both its numbers over the seeds."""

    label: str
    levels: Mapping[str, str]
    validation: Summary
    test: Summary


@dataclass(frozen=True)
class Effects:
    """The effects of one data set. Without axes there are none: then `reason` says why.

    rows: how many take part. combinations: how many there are of the axes' levels. best: chosen on validation, reported
    on test; None where no validation iwll is known. left_out: label -> why the row does not take part. notes: what the
    rows cannot tell.
    """

    dataset: str
    axes: tuple[Axis, ...] = ()
    seeds: tuple[Hashable, ...] = ()
    rows: int = 0
    combinations: int = 0
    main: tuple[MainEffect, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    shares: tuple[Share, ...] = ()
    best: Combination | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reason: str = ""
    name: str = ""


def effects(folder: str | Path) -> tuple[Effects, ...]:
    """The effects of each data set of a results folder, in its order. VaezooError where the folder holds no results."""
    frame = read_results(folder)
    name = str(frame.attrs.get("name") or "")
    return tuple(effects_of(dataset, rows, name) for dataset, rows in dataset_rows(frame, [IWLL]))


def effects_of(dataset: str, rows: Sequence[TableRow], name: str = "") -> Effects:
    """The effects of the rows of one data set. name: the matrix's."""
    ranking = rank(rows, [IWLL])
    left_out = {row: _why(row, ranking.remarks.get(row, ())) for row in rows if row not in ranking.ranked}
    measured = [row for row in rows if row in ranking.ranked and math.isfinite(row.cells["iwll"].mean)]
    left_out |= {row: "its iwll is not finite" for row in rows if row in ranking.ranked and row not in measured}
    seeds, complete = _complete(measured)
    left_out |= {row: "it lacks a seed that the others have" for row in measured if row not in complete}
    found = crossing(complete)
    made = terms(list(found.places.values()), [len(axis.levels) for axis in found.axes]) if found.axes else None
    if made is None:
        found = NO_CROSSING
    told = {row.label: reason for row, reason in (left_out | dict(found.left_out)).items()}
    if made is None:
        without = sum(not row.has("iwll") for row in rows)
        reason = f"{NEEDED}; {without} of {len(rows)} rows have no iwll so far" if without else NEEDED
        return Effects(dataset, left_out=told, reason=reason, name=name)
    kept = list(found.places)
    numbers = np.array([[row.numbers["iwll"][seed] for seed in seeds] for row in kept])
    able, rest = made
    every = [effect for term in able for effect in _effects(term, found, numbers)]
    return Effects(
        dataset,
        found.axes,
        seeds,
        len(kept),
        found.size,
        tuple(_judged([effect for effect in every if isinstance(effect, MainEffect)], found.axes)),
        tuple(_judged([effect for effect in every if isinstance(effect, Interaction)], found.axes)),
        tuple(_shares(found.axes, able, rest, numbers)),
        _best(kept, found, seeds),
        told,
        tuple(_notes(found, able, len(seeds))),
        name=name,
    )


def _why(row: TableRow, remarks: Sequence[str]) -> str:
    """Why a row is not ranked."""
    if remarks:
        return "; ".join(remarks)
    if row.disproved:
        return "a proof of one of its plugins fails"
    return row.reasons[0] if row.reasons else "it has no iwll" if not row.has("iwll") else "no other row compares"


def _complete(rows: Sequence[TableRow]) -> tuple[tuple[Hashable, ...], list[TableRow]]:
    """The seeds and the rows that have all of them, with most numbers; of equally many, those with most seeds."""
    seeds = [tuple(row.numbers["iwll"]) for row in rows]
    best: tuple[tuple[Hashable, ...], list[TableRow]] = ((), [])
    for wanted in dict.fromkeys(seeds):
        having = [row for row, own in zip(rows, seeds, strict=True) if set(wanted) <= set(own)]
        sizes = [(len(some) * len(of), len(some)) for some, of in ((wanted, having), best)]
        best = (wanted, having) if sizes[0] > sizes[1] else best
    return best


def _effects(term: Term, found: Crossing, numbers: np.ndarray) -> Iterator[Effect]:
    """The effects of an axis's levels, or of the levels of two axes, not yet corrected."""
    kind = MainEffect if len(term.axes) == 1 else Interaction
    axes = [found.axes[axis] for axis in term.axes]
    scale = float(np.abs(numbers).max())
    for levels, values in zip(term.levels, (term.weights @ numbers).tolist(), strict=True):
        rows = sum(tuple(place[axis] for axis in term.axes) == levels for place in found.places.values())
        names = tuple(axis.levels[level] for axis, level in zip(axes, levels, strict=True))
        yield kind(tuple(axis.name for axis in axes), names, _over(values, scale), None, rows)


def _over(values: Sequence[float], scale: float) -> Paired:
    """The mean over the seeds, with an infinite interval for one; a rounding of numbers of this size is none."""
    if len(values) == 1:
        return Paired(values[0], -math.inf, math.inf, 1, math.nan)
    found = over_seeds(values)
    if abs(found.mean) > ROUNDING * scale:
        return found
    half = max(found.high - found.mean, abs(found.mean))
    return Paired(found.mean, found.mean - half, found.mean + half, found.count, 1.0)


def _judged(family: Sequence[AnyEffect], axes: Sequence[Axis]) -> Iterator[AnyEffect]:
    """The family with Holm's p-values. Effects that mirror each other, of axes with two levels, are one test."""
    two = {axis.name for axis in axes if len(axis.levels) == 2}
    tests: dict[tuple[object, ...], float] = {}
    keys = []
    for effect in family:
        told = (level for axis, level in zip(effect.axes, effect.levels, strict=True) if axis not in two)
        keys.append((effect.axes, *told))
        tests.setdefault(keys[-1], effect.found.p)
    adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
    for key, effect in zip(keys, family, strict=True):
        yield replace(effect, p=adjusted[key] if effect.found.count > 1 else None)


def _shares(axes: Sequence[Axis], able: Sequence[Term], rest: np.ndarray, numbers: np.ndarray) -> Iterator[Share]:
    """The shares of the axes, the interactions, what is left, and the seeds; none where nothing varies."""
    parts, further, seeds = shares(able, rest, numbers)
    named = [(" x ".join(axes[axis].name for axis in term.axes), part) for term, part in zip(able, parts, strict=True)]
    if np.trace(rest) > 0.5:  # the rows beyond those that the terms need
        named.append(("further interactions", further))
    if not math.isnan(seeds):
        named.append(("seeds", seeds))
    total = math.fsum(max(part, 0.0) for _, part in named)
    for name, part in named if total else ():
        yield Share(name, max(part, 0.0) / total)


def _best(rows: Sequence[TableRow], found: Crossing, seeds: Sequence[Hashable]) -> Combination | None:
    """The row with the best mean validation iwll over these seeds, of those that have it for each."""
    able = [row for row in rows if set(seeds) <= set(row.validation)]
    if not able:
        return None
    best = max(able, key=lambda row: math.fsum(row.validation[seed] for seed in seeds))
    levels = {axis.name: axis.levels[at] for axis, at in zip(found.axes, found.places[best], strict=True)}
    validation, test = ([of[seed] for seed in seeds] for of in (best.validation, best.numbers["iwll"]))
    return Combination(best.label, levels, summarise(validation), summarise(test))


def _notes(found: Crossing, able: Sequence[Term], seeds: int) -> Iterator[str]:
    """What the rows cannot tell."""
    if lacking := found.size - len(found.places):
        yield (
            f"{lacking} of {found.size} combinations lack: effects are those of the least-squares fit, "
            "and shares those of the full product as it is fitted"
        )
    told = {term.axes for term in able}
    for pair in combinations(range(len(found.axes)), 2):
        if pair not in told:
            one, other = (found.axes[axis].name for axis in pair)
            yield f"the interaction of {one} and {other} cannot be told: effects are those of a fit without it"
    if seeds == 1:
        yield "one seed: no test can decide, and the shares contain the noise of training"
    elif seeds == 2:
        yield "two seeds: an interval is 12.7 standard errors wide on each side, so that few effects can be told"
