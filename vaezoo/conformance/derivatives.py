"""The proof that automatic differentiation gives the derivatives of every term of the bounds: no path is cut."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaezoo.conformance.expectations import largest_jump
from vaezoo.conformance.modules import off_by
from vaezoo.conformance.places import OF_PASS, Place, places
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject
from vaezoo.conformance.verdict import NotRun, Wrong, must
from vaezoo.core.model import LatentModel
from vaezoo.registry import PARTS

STEPS = (1e-6, 1e-5, 1e-7)
"""Sizes of the step of the finite differences. The others are tried where the first does not agree: rounding is less
over the second, and the third crosses fewer kinks. A slope is wrong where it disagrees over all three.
"""
TOLERANCE = 1e-5
"""How far a slope may be from its finite difference, relative to it."""
ROUNDING = 1e-7
"""How far it may be besides, for a term whose entries are scaled to 1: 1,000 times the rounding of float64."""
DIRECTIONS = 4
"""Random directions for each tensor; one in quick mode, and up to this many until one decides."""


@PROOFS.add("derivatives", *(slot for slot in PARTS if slot != "objective"), "variant")
def derivatives(subject: Subject) -> str:
    """d/dt of z, log q(z|x), log p(z), log p(x|z) and KL, at fixed noise and at given z, is their finite difference, by
    each parameter tensor, x, context, features, decoder output and z.

    Each tensor is moved along four random directions, in float64, in train and in eval mode, near the start and with
    all weights times 4, large z and x at its ends. The entries of each term are weighted at random. A difference over
    one step and one over three, or those to the two sides, disagree where a direction crosses a kink, or where it bends
    sharply: it then decides nothing, and a smaller step and further directions are tried. What no direction decides is
    said, and is no pass. Where z jumps at fixed noise (rejection, a choice of components), the terms of a given z are
    compared alone; `gradient of E f(z)` proves the rest. No randomness is left: false alarm 0 for smooth functions.
    """
    tally = _Tally()
    for place in places(subject):
        _compare(subject, place, tally)
    if undecided := tally.undecided():
        raise NotRun(f"undecided, every direction crosses a kink: {', '.join(undecided[:3])}")
    note = "; z jumps at fixed noise: at given z alone" if tally.jumps else ""
    parts = (place.model.encoder, place.model.posterior_net, place.model.decoder)
    note += "; without a part that declares surrogate" if any(part.surrogate for part in parts) else ""
    return f"{tally.compared} slopes, off by {tally.worst:.1g} or less{note}"


@dataclass
class _Tally:
    """What has been compared: the pairs of term and tensor that were seen, those that a direction decided, and figures.

    jumps: whether z jumps where parameters move at fixed noise, so that the terms of a pass have no such derivative.
    """

    seen: set[tuple[str, str]] = field(default_factory=set)
    decided: set[tuple[str, str]] = field(default_factory=set)
    compared: int = 0
    worst: float = 0.0
    jumps: bool = False

    def note(self, place: Place, term: str, title: str, slope: float, found: _Slope) -> None:
        """Count what was found of a slope; Wrong where it is wrong and z does not jump."""
        if found.right is None:
            return
        if not found.right:
            self.jumps = self.jumps or (term.startswith(OF_PASS) and largest_jump(place.model, place.seen)[0])
            if self.jumps and term.startswith(OF_PASS):
                return
            what = f"the slope of {term} by {title} is {slope:.6g}, its finite difference {found.difference:.6g}"
            raise Wrong(f"{slope:.4g} for {found.difference:.4g}", f"{what} ({place.title})")
        self.compared += 1
        self.worst = max(self.worst, abs(slope - found.difference) / (1 + abs(found.difference)))
        self.decided.add((term, title))

    def undecided(self) -> list[str]:
        """The pairs that no direction decided."""
        left = [pair for pair in self.seen - self.decided if not (self.jumps and pair[0].startswith(OF_PASS))]
        return [f"{term} by {title}" for term, title in sorted(left)]


class _Weighted:
    """Each term of a place as one number: its finite entries, scaled to size 1, weighted at random."""

    def __init__(self, place: Place, exempt: tuple[str, ...]):
        self.place, generator = place, torch.Generator().manual_seed(3)
        first = {name: value for name, value in place.terms().items() if not name.startswith(exempt)}
        self.weights = {
            name: torch.randn(value.shape, generator=generator, dtype=value.dtype)
            * value.isfinite()
            / (1 + value.detach().nan_to_num().abs().clamp(max=1e100))
            for name, value in first.items()
        }
        with torch.no_grad():
            plain = place.terms()
        for name, value in first.items():
            off = off_by(plain[name].nan_to_num(), value.nan_to_num())
            what = f"{name} differs by {off:.3g} with and without gradients ({place.title})"
            must(off < ROUNDING, f"{off:.2g}", what)
        near = place.title.startswith("near")  # where a gradient that is NaN at a finite value is wrong
        self.strict = {name: near and bool(value.isfinite().all()) for name, value in first.items()}
        self.values = self._sums(first)

    def _sums(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: (terms[name].nan_to_num() * weight).sum() for name, weight in self.weights.items()}

    def gradients(self) -> dict[str, list[Tensor]]:
        """The gradient of each term by each leaf, 0 by those on which it does not depend."""
        leaves, found = list(self.place.leaves.values()), {}
        for name, value in self.values.items():
            each: tuple[Tensor | None, ...] = (None,) * len(leaves)
            if value.requires_grad:
                each = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
            found[name] = [torch.zeros_like(p) if g is None else g for g, p in zip(each, leaves, strict=True)]
        return found

    def moved(self, leaf: Tensor, direction: Tensor, step: float) -> dict[str, float]:
        """The terms with a leaf moved."""
        start = leaf.detach().clone()
        with torch.no_grad():
            leaf.copy_(start + step * direction)
            try:
                return {name: float(value) for name, value in self._sums(self.place.terms()).items()}
            finally:
                leaf.copy_(start)


def _compare(subject: Subject, place: Place, tally: _Tally) -> None:
    """Compare all slopes of one place."""
    weighted = _Weighted(place, OF_PASS if tally.jumps or place.model.posterior_net.surrogate else ())
    gradients, generator = weighted.gradients(), torch.Generator().manual_seed(7)
    for number, (title, leaf) in enumerate(place.leaves.items()):
        undecided = {name for name in weighted.values if not _is_exempt(place.model, title, name)}
        tally.seen |= {(name, title) for name in undecided}
        undecided -= {name for name, decided in tally.decided if decided == title}
        least = subject.count(DIRECTIONS) if _is_own(subject, title) else 1
        for n in range(DIRECTIONS):
            if n >= least and not undecided:
                break
            direction = torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype)
            slopes = {name: float((each[number] * direction).sum()) for name, each in gradients.items()}
            for name, found in _along(weighted, leaf, direction, slopes).items():
                if (name, title) in tally.seen and not (tally.jumps and name.startswith(OF_PASS)):
                    tally.note(place, name, title, slopes[name], found)
                    if found.right:
                        undecided.discard(name)


def _is_own(subject: Subject, title: str) -> bool:
    """Whether a tensor is a parameter of the plugin's own, or an input."""
    part = title.partition(".")[0].removesuffix("_net")
    return part not in PARTS or part == subject.plugin.slot


@dataclass(frozen=True)
class _Slope:
    """A finite difference, and whether the gradient agrees with it; None where that cannot be told."""

    difference: float
    right: bool | None


def _along(weighted: _Weighted, leaf: Tensor, direction: Tensor, slopes: dict[str, float]) -> dict[str, _Slope]:
    """Each term's slope beside its finite difference; without a verdict where this direction decides nothing."""
    found, left = {}, set(slopes)
    for step in STEPS:
        ends = {n: weighted.moved(leaf, direction, n * step) for n in (1, -1)}
        for name in sorted(left):
            value, slope = float(weighted.values[name].detach()), slopes[name]
            near = (ends[1][name] - ends[-1][name]) / (2 * step)
            slack = TOLERANCE * abs(near) + ROUNDING * (1 + abs(value)) * max(1.0, STEPS[0] / step)
            if abs(slope - near) <= slack:
                found[name] = _Slope(near, True)
                left.discard(name)
                continue
            if 3 not in ends:
                ends |= {n: weighted.moved(leaf, direction, n * step) for n in (3, -3)}
            far = (ends[3][name] - ends[-3][name]) / (6 * step)
            sides = (ends[1][name] + ends[-1][name] - 2 * value) / step
            doubt = slack + 2 * abs(near - far) + 0.6 * abs(sides)
            wrong = abs(slope - near) > doubt or (math.isnan(slope) and near == near and weighted.strict[name])
            doubted = name in found and found[name].right is None
            found[name] = _Slope(near, False if wrong and not doubted else None)
        if not left:
            break
    return found


def _is_exempt(model: LatentModel, title: str, term: str) -> bool:
    """Whether the slope of a term by a tensor goes through an encoder or a decoder that declares `surrogate`."""
    if model.encoder.surrogate and (title.startswith("encoder.") or title in ("x", "context")):
        return True
    return model.decoder.surrogate and "log p(x|z)" in term and not title.startswith(("the parameters", "likelihood."))
