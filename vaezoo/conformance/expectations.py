"""The proof of gradients in expectation, for samples that jump where parameters move at fixed noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, jitter, keyed
from vaezoo.conformance.verdict import must
from vaezoo.core import variates
from vaezoo.core.contracts import supports
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel

SAMPLES, GRID, HALVINGS = 1000, 8, 26
"""Samples of each image, intervals of a line in the space of parameters, and how often one is halved, in search of a
jump.
"""
JUMP = 1e-4
"""The largest step of z, in its standard deviations, over a piece of 2e-9 of the line, that is no jump."""
DOUBT, ERRORS = 2.5, 4.0
"""Standard errors off at which a gradient is compared again with four times the samples, and at which it then fails."""
BLOCKS = 20
STEP = 0.1
"""Length of the step of the finite differences of E f(z), which also takes 2 of them."""


@torch.no_grad()
def largest_jump(model: LatentModel, batch: Batch, suspects: int = 2) -> tuple[bool, float]:
    """Whether z jumps at fixed noise where all parameters move along a line, and the largest step that was found.

    Gamma numbers are drawn by rejection, and their gradient is that of their quantile: they count as a jump, inf.
    On a grid of the line, the elements of z are found of which one step is the largest beside their usual step. The
    interval of each of these suspects is halved 26 times: the steps of a continuous map become 0, and a jump stays.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    start = [p.clone() for p in parameters]
    jitter(model, 43)
    ends = [p.clone() for p in parameters]

    def z(t: float) -> Tensor:
        """The samples at a place of the line, in standard deviations. [SAMPLES * B * Z]"""
        for parameter, first, last in zip(parameters, start, ends, strict=True):
            parameter.copy_(torch.lerp(first, last, t))
        with keyed(47, model, batch):
            drawn = torch.cat(model.posterior(batch).rsample_and_log_prob(SAMPLES)[0], -1)
        return (drawn / scale).flatten()

    def element_at(element: int, t: float) -> float:
        """One element of the samples at a place of the line."""
        return float(z(t)[element])

    try:
        scale = torch.ones(())
        if _draws_gamma(partial(z, 0.0)):
            return True, math.inf
        scale = z(0.0).view(SAMPLES * len(batch.x), -1).std(0) + 1e-12
        places = torch.stack([z(n / GRID) for n in range(GRID + 1)])
        steps = places.diff(dim=0).abs()
        largest, where = steps.max(0)
        ratio = largest / (steps.median(0).values + 1e-3 * largest + JUMP)
        worst = 0.0
        for element in ratio.argsort(descending=True)[:suspects].tolist():
            low = int(where[element]) / GRID
            worst = max(worst, _last_step(partial(element_at, element), low, low + 1 / GRID))
    finally:
        for parameter, first in zip(parameters, start, strict=True):
            parameter.copy_(first)
    return worst > JUMP, worst


def _draws_gamma(draw: Callable[[], Tensor]) -> bool:
    """Whether samples are functions of gamma numbers."""
    with patch.object(variates, "gammas", wraps=variates.gammas) as gammas:
        draw()
    return gammas.called


def _last_step(function: Callable[[float], float], low: float, high: float) -> float:
    """The step of a function over the last of HALVINGS intervals, each the half of the one before with more of it."""
    at_low, at_high = function(low), function(high)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        at_middle = function(middle)
        if abs(at_middle - at_low) >= abs(at_high - at_middle):
            high, at_high = middle, at_middle
        else:
            low, at_low = middle, at_middle
        if abs(at_high - at_low) < JUMP / 2:
            break
    return abs(at_high - at_low)


@PROOFS.add("gradient of E f(z)", "posterior")
def gradient_of_expectation(subject: Subject) -> str:
    """d/dtheta E f(z) by the samples' gradients is its finite difference, for f quadratic, cosine and log q, where z
    jumps at fixed noise; elsewhere z has no jump, and `derivatives` proves it.

    Each tensor of the posterior, and the features, are moved along a random direction; the decoder is linear, because a
    kink of it is a jump of a Hamiltonian posterior. Both sides share their noise. A gradient that is more than 2.5
    standard errors (of 20 blocks) off is compared again, with other noise, 80 blocks and a quarter of the step, and
    fails at 4: false alarm below 1e-4 for 30 comparisons. Discrete samples may carry no gradient; the other groups then
    have theirs, and that of the codes is taken by their scores. A posterior that declares `surrogate` is measured and
    never fails.
    """
    largest, figures = 0.0, []
    for training in (False, True):
        model = subject.build(double=True, altered=True, overrides={"decoder": "linear"})[0].train(training)
        batch = subject.batch(model, training=training)
        jumps, step = largest_jump(model, batch, subject.count(4))
        largest = max(largest, step)
        if not jumps:
            continue
        with keyed(0, model, batch):
            z = model.posterior(batch).rsample_and_log_prob(1)[0]
        discrete = set(supports(model.posterior_net, len(z))) == {"discrete"}
        if discrete and not any(each.requires_grad for each in z):
            return "discrete, and z carries no gradient"
        declared = model.posterior_net.surrogate
        off = _farthest(model, batch, max(200, subject.count(400)), declared)
        mode = "train" if training else "eval"
        figures.append(f"{off:.1f} s.e. in {mode} mode{' (declares surrogate)' if declared else ''}")
    return ", ".join(figures) if figures else f"no jump: {largest:.1g} s.d. or less"


def _farthest(model: LatentModel, batch: Batch, samples: int, declared: bool) -> float:
    """The largest distance of a gradient from its finite difference, in standard errors; Wrong beyond ERRORS."""
    named: dict[str, Tensor] = {name: p for name, p in model.posterior_net.named_parameters() if p.requires_grad}
    offset = torch.zeros(tuple(model.encoder.features), dtype=model.dtype, requires_grad=True)
    hook = model.encoder.register_forward_hook(lambda module, inputs, output: output + offset)
    named["the features"], worst = offset, 0.0
    again: dict[str, dict[str, tuple[float, str]]] = {}
    try:
        for name, (size, what) in _distances(model, batch, named, samples, 53).items():
            title = name.partition(": ")[2]
            if size > DOUBT and not declared:
                if title not in again:
                    again |= {title: _distances(model, batch, {title: named[title]}, samples, 59, 4 * BLOCKS, STEP / 4)}
                size, what = again[title][name]
                must(size <= ERRORS, f"{size:.1f} s.e.", f"{what}, {size:.1f} standard errors off")
            worst = max(worst, size)
    finally:
        hook.remove()
    return worst


def _distances(
    model: LatentModel,
    batch: Batch,
    named: Mapping[str, Tensor],
    samples: int,
    seed: int,
    blocks: int = BLOCKS,
    step: float = STEP,
) -> dict[str, tuple[float, str]]:
    """function: parameter -> standard errors between gradient and finite difference, and what was compared."""
    functions, generator = _functions(model, batch), torch.Generator().manual_seed(61)
    kinds = supports(model.posterior_net, len(model.latents or (1,)))
    ways = {}
    for name, parameter in named.items():
        way = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        ways[name] = step * way / way.norm()
    slopes: dict[str, list[tuple[float, float, float]]] = {}
    for block in range(blocks):
        first = block * samples

        def means(block_first: int = first) -> dict[str, Tensor]:
            """The mean of each function over the samples of this block and over the images."""
            with keyed(seed, model, batch, first=block_first):
                z, log_q = model.posterior(batch).rsample_and_log_prob(samples)
            values = functions(torch.cat(z, -1), log_q.sum(0))
            chosen = [n for n, kind in enumerate(kinds) if kind == "discrete" and not z[n].requires_grad]
            score = log_q[chosen].sum(0)
            return {title: _with_score(value, score).mean() for title, value in values.items()}

        values = means()
        gradients = {}
        for title, value in values.items():
            found = torch.autograd.grad(value, list(named.values()), retain_graph=True, allow_unused=True)
            gradients[title] = dict(zip(named, found, strict=True))
        for name, parameter in named.items():
            differences = dict(_differences(parameter, ways[name], means))
            for title in values:
                gradient = gradients[title][name]
                slope = 0.0 if gradient is None else float((gradient * ways[name]).sum())
                slopes.setdefault(f"{title}: {name}", []).append((slope, *differences[title]))
    return {title: _distance(title, torch.tensor(pairs) / step) for title, pairs in slopes.items()}


def _with_score(value: Tensor, score: Tensor) -> Tensor:
    """f(z), with the gradient that f has by way of codes that carry none: (f - mean f) d log q(codes). [K, B]"""
    return value + (value - value.mean(0)).detach() * (score - score.detach())


@torch.no_grad()
def _differences(
    parameter: Tensor, way: Tensor, means: Callable[[], dict[str, Tensor]]
) -> Iterator[tuple[str, tuple[float, float]]]:
    """The derivative of each mean along a way, by central differences over one and two steps (Richardson), and by how
    much these two differ, as where the mean bends or the way crosses kinks.
    """
    start, ends = parameter.clone(), {}
    for n in (1, -1, 2, -2):
        parameter.copy_(start + n * way)
        ends[n] = means()
    parameter.copy_(start)
    for title in ends[1]:
        one, two = (float(ends[n][title] - ends[-n][title]) / (2 * n) for n in (1, 2))
        yield title, ((4 * one - two) / 3, one - two)


def _distance(title: str, pairs: Tensor) -> tuple[float, str]:
    """How far the mean slope is from the mean difference, beyond a hundredth of it and the difference of its two steps,
    in standard errors. [blocks, 3]
    """
    slope, difference, bend = pairs.double().mean(0).tolist()
    error = float((pairs[:, 0] - pairs[:, 1]).double().std() / math.sqrt(len(pairs)))
    beyond = max(abs(slope - difference) - 0.01 * abs(difference) - abs(bend) - 1e-9, 0.0)
    size = beyond / error if error > 0 else (math.inf if beyond else 0.0)
    function, _, name = title.partition(": ")
    what = f"the gradient of E {function} by {name} is {slope:.5g}, its finite difference {difference:.5g}"
    return size, f"{what} +- {error:.2g}"


def _functions(model: LatentModel, batch: Batch) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
    """(z [K, B, Z], log q [K, B]) -> a quadratic and a cosine, weighted by image, and log q, each [K, B]."""
    with torch.no_grad(), keyed(67, model, batch):
        z = torch.cat(model.posterior(batch).rsample_and_log_prob(200)[0], -1)
    centre, scale = z.mean((0, 1)), z.flatten(0, 1).std(0) + 1e-6
    generator = torch.Generator().manual_seed(71)
    shift, weight = (torch.randn(z.shape[1:], generator=generator, dtype=z.dtype) for _ in range(2))

    def functions(z: Tensor, log_q: Tensor) -> dict[str, Tensor]:
        """The three functions of each sample."""
        unit = (z - centre) / scale
        quadratic = (weight * (unit - shift).square()).sum(-1)
        cosine = (weight * (unit + shift).cos()).sum(-1)
        return {"f(z), f quadratic,": quadratic, "f(z), f cosine,": cosine, "log q": log_q}

    return functions
