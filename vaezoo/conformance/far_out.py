"""The proof that log q(z|x) is that of its samples far from the start, where standard deviations reach their bounds."""

import copy
import math
from unittest.mock import patch

import torch
from torch import Tensor

from vaezoo.conformance.log_determinants import by_change_of_variables
from vaezoo.conformance.places import spread
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, keyed, rows
from vaezoo.conformance.verdict import NotRun, must
from vaezoo.core import noise
from vaezoo.core.contracts import Latents, supports
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel

TOLERANCE = 1e-5
"""The largest difference, relative to 1 + the size of log q, that is rounding in float64."""
SAMPLES = 20
SEED = 113
TIMES = 2
"""How often all weights are multiplied by 4."""


@PROOFS.add("log q far out", "posterior", "variant")
def log_q_far_out(subject: Subject) -> str:
    """With all weights times 4 and times 16, log q(z|x) = log N(eps) - log |det dz/deps|, and log_prob(z) of its own
    samples is the log q that came with them.

    In train and in eval mode, for each image. A clamp that z and log q do not share shows here. Where z is no function
    of normal numbers alone, only log_prob(z) is compared. A difference up to 1e-5 (1 + |log q|) is rounding; numbers
    that move by a thousandth of that with the last digits of the weights, or log_prob with those of a real z, are left
    out. Nothing is random: false alarm 0.
    """
    tally: list[float] = []
    why = "rounding hides log q"
    model = subject.build(double=True, altered=True)[0]
    for _ in range(TIMES):
        spread(model)
        moved = _in_last_digits(model)
        for training in (False, True):
            model.train(training)
            moved.train(training)
            batch = subject.batch(model, training=training)
            tally += _of_own_samples(model, moved, batch)
            for one in (rows(batch, slice(n, n + 1)) for n in range(len(batch.x))):
                try:
                    _refuse_other_draws(model, one)
                    here, there = (by_change_of_variables(each, one, SEED) for each in (model, moved))
                except NotRun as reason:
                    why = str(reason)
                    continue
                copies = math.exp(min(here[0] - here[1], 50.0))
                if copies > 1.5 and abs(copies - round(copies)) < TOLERANCE:
                    continue  # each z comes from 2 or more values of its noise, as |eps| does
                tally += _compared(model, here, there, "log N(eps) - log |det dz/deps|")
    if not tally:
        raise NotRun(why)
    return f"{len(tally)} samples, off by {max(tally):.1g} or less"


@torch.no_grad()
def _in_last_digits(model: LatentModel) -> LatentModel:
    """A copy whose weights differ by 1e-14 of their size."""
    moved, generator = copy.deepcopy(model), torch.Generator().manual_seed(127)
    for parameter in moved.parameters():
        parameter.mul_(1 + 1e-14 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return moved


def _refuse_other_draws(model: LatentModel, one: Batch) -> None:
    """NotRun where z is not on the real line, or is drawn with other than normal numbers."""
    normals, normal = [], noise.normal

    def record(*shape: int) -> Tensor:
        """Draws normal numbers and counts the call."""
        normals.append(shape)
        return normal(*shape)

    with torch.no_grad(), keyed(SEED, model, one), patch.object(noise, "normal", record):
        z, _ = model.posterior(one).rsample_and_log_prob(1)
        opened = noise.source().stream
    if set(supports(model.posterior_net, len(z))) != {"real"} or opened is None or opened.calls != len(normals):
        raise NotRun("it draws other than normal numbers, or not on the real line")


def _of_own_samples(model: LatentModel, moved: LatentModel, batch: Batch) -> list[float]:
    """How far log_prob(z) of samples is from their log q; nothing where q scores only its own samples."""
    with torch.no_grad(), keyed(109, model, batch):
        q = model.posterior(batch)
        z, log_q = q.rsample_and_log_prob(SAMPLES)
        again = q.log_prob(z)
    if again is None:
        return []
    with torch.no_grad(), keyed(109, model, batch):
        there = moved.posterior(batch).log_prob(_moved_in_last_digits(z, supports(model.posterior_net, len(z))))
    assert there is not None
    columns = (each.flatten().tolist() for each in (log_q, again, log_q, there))
    each = (_compared(model, (a, b), (c, d), "log_prob(z)") for a, b, c, d in zip(*columns, strict=True))
    return [off for found in each for off in found]


def _moved_in_last_digits(z: Latents, kinds: tuple[str, ...]) -> Latents:
    """Points that differ by 1e-14 (1 + their size) on the real line, each up or down, so that none stays where it is.
    (Where a map is nearly flat, as a spline whose weights are large, the rounding of z alone moves log_prob(z).)
    """
    generator = torch.Generator().manual_seed(131)
    apart = (2e-14 * torch.randint(2, group.shape, generator=generator, dtype=group.dtype) - 1e-14 for group in z)
    return tuple(
        group + each * (1 + group.abs()) if kind == "real" else group
        for group, each, kind in zip(z, apart, kinds, strict=True)
    )


def _compared(model: LatentModel, here: tuple[float, float], there: tuple[float, float], title: str) -> list[float]:
    """How far a reported log q is off, relatively; nothing where rounding hides that. here, there: (reported, expected)
    of a model, and of one that differs in its last digits.
    """
    (found, expected), room = here, TOLERANCE * (1 + abs(here[1]))
    if not all(abs(a - b) <= 1e-3 * room for a, b in zip(here, there, strict=True)):  # also where one is NaN
        return []
    mode = "train" if model.training else "eval"
    what = f"log q(z|x) far out, in {mode} mode, is {found:.6g}, and {title} is {expected:.6g}"
    must(abs(found - expected) <= room, f"{found:.4g} for {expected:.4g}", what)
    return [abs(found - expected) / (1 + abs(expected))]
