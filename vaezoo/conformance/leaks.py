"""The proofs that p(x|z) and p(z) have no memory: their values are functions of (x, z), weights and buffers alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaezoo.conformance.fresh import Values, densities, fresh_values, scores
from vaezoo.conformance.modules import off_by, total, value_of
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import MODULE_SLOTS, Subject, contexts, images, jitter, keyed
from vaezoo.conformance.verdict import NotRun, Wrong, must
from vaezoo.core.contracts import Latents, Objective
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel

ROUNDING = 1e-5
"""The largest difference, in float32 and relative to 1 + the size of the numbers, that is rounding. (The models stay in
float32: a plugin that keeps a tensor of an earlier pass is then found by a value, not by an error.)
"""
IMAGES, SAMPLES = 4, 3
INDEX = 1000
"""Numbers of images that no other pass of a proof has used."""


@dataclass
class _Watched:
    """A model in eval mode, the points (x, z) at which its densities are compared, and their first values."""

    subject: Subject
    model: LatentModel
    objective: Objective
    batch: Batch
    z: Latents
    first: Values

    @classmethod
    def of(cls, subject: Subject) -> _Watched:
        """A model that has run nothing yet, with its densities."""
        model, objective = subject.build(altered=True)
        batch = subject.batch(model.eval(), IMAGES)
        with torch.no_grad(), keyed(73, model):
            drawn = model.prior_sample(SAMPLES * IMAGES, _repeated(batch.context))
        z = tuple(group.unflatten(0, (SAMPLES, IMAGES)) for group in drawn)
        return cls(subject, model, objective.eval(), batch, z, densities(model, _copied(batch), _clones(z)))

    def compare(self, found: Values, what: str, expected: Values | None = None, room: float = ROUNDING) -> float:
        """How far values are from the expected, or the first, ones; Wrong beyond `room`."""
        worst = 0.0
        for name, value in found.items():
            off = off_by(value, (expected or self.first)[name])
            worst = max(worst, off)
            must(off <= room, f"{off:.2g}", f"{name} changes by {off:.3g} {what}, in eval mode")
        return worst

    def again(self, what: str) -> float:
        """How far the densities are from the first ones now."""
        return self.compare(densities(self.model, _copied(self.batch), _clones(self.z)), what)


def _clones(z: Latents) -> Latents:
    return tuple(group.clone() for group in z)


def _copied(batch: Batch) -> Batch:
    context = None if batch.context is None else batch.context.clone()
    return replace(batch, x=batch.x.clone(), context=context)


def _repeated(context: Tensor | None) -> Tensor | None:
    return None if context is None else context.repeat(SAMPLES, 1)


@PROOFS.add("no memory", *MODULE_SLOTS)
def no_memory(subject: Subject) -> str:
    """log p(x|z) and log p(z) of given (x, z) are the same whatever was encoded, sampled or trained on before.

    In eval mode, they are computed first, then after these images were encoded, after others, after more
    and fewer of them, after draws from the model, and after passes in train mode with their gradients; also as a pass
    itself reports them at its own z. The largest difference is the figure; up to 1e-5 it is rounding. Nothing is
    random: false alarm 0.
    """
    watched = _Watched.of(subject)
    worst = watched.again("when it is computed again")
    for what, act in _histories(watched):
        act()
        worst = max(worst, watched.again(what))
    return f"{max(worst, _of_a_pass(watched)):.1g}"


def _histories(watched: _Watched) -> Iterator[tuple[str, Callable[[], None]]]:
    """What may happen before, and how to say it."""
    subject, model, objective, batch = watched.subject, watched.model, watched.objective, watched.batch

    def encoding(images: Batch) -> Callable[[], None]:
        """A pass over images in eval mode, and the mean it reconstructs."""

        def run() -> None:
            """One pass."""
            with torch.no_grad(), keyed(79, model, images):
                draws = model.draw(images, SAMPLES)
                _ = draws.log_weight, draws.kl

        return run

    def sampling() -> None:
        """Draws from the model."""
        with torch.no_grad(), keyed(83, model):
            z = model.prior_sample(IMAGES, contexts(model, IMAGES))
            try:
                model.simulate(z, contexts(model, IMAGES))
            except NotImplementedError:  # a likelihood without sample
                return

    def training(images: Batch) -> Callable[[], None]:
        """A pass over images in train mode, with its gradient."""

        def run() -> None:
            """One pass, forwards and backwards."""
            seen = replace(_copied(images), progress=torch.full((), 0.7, dtype=model.dtype))
            for part in (model, objective):
                part.train()
            total(value_of(subject, model, objective, seen, 89)).backward()
            for part in (model, objective):
                part.zero_grad()
                part.eval()

        return run

    yield "after these images were encoded", encoding(batch)
    yield "after other images were encoded", encoding(subject.batch(model, IMAGES, 5))
    yield "after one image was encoded", encoding(subject.batch(model, 1, 6))
    yield "after more images were encoded", encoding(subject.batch(model, SAMPLES * IMAGES, 7))
    yield "after draws from p(x|z) p(z)", sampling
    yield "after other images were trained on", training(subject.batch(model, IMAGES, 8))
    yield "after these images were trained on", training(batch)


def _of_a_pass(watched: _Watched) -> float:
    """How far the densities that a pass reports are from those of its z given alone."""
    model, batch = watched.model, watched.batch
    with torch.no_grad(), keyed(97, model, batch):
        draws = model.draw(batch, SAMPLES)
        found = {"log p(x|z)": draws.log_likelihood, "log p(z)": draws.log_prior.sum(0)}
    other = watched.subject.batch(model, IMAGES, 8)
    with torch.no_grad(), keyed(97, model, other):
        model.draw(other, SAMPLES)
    alone = densities(model, _copied(batch), _clones(draws.z))
    return watched.compare(found, "from a pass that drew this z to one that is given it", alone)


@PROOFS.add("densities of (x, z) alone", *MODULE_SLOTS)
def of_points_alone(subject: Subject) -> str:
    """log p(x|z) of an image and log p(z) of a latent do not depend on the other images, on index or on noise, and
    neither p(z) nor the decoder's output on x.

    In eval mode; the decoder's output of an autoregressive decoder, which is given x, is left out. A difference up to
    1e-5, or 1e-4 where the number of images differs, is rounding. Nothing is random: false alarm 0.
    """
    watched = _Watched.of(subject)
    model, batch, z = watched.model, watched.batch, watched.z
    index = torch.arange(INDEX, INDEX + IMAGES).flip(0)
    worst = watched.compare(densities(model, replace(batch, index=index), z), "with the images' index")
    worst = max(worst, watched.compare(densities(model, batch, z, seed=1), "with the noise"))
    for n in (0, IMAGES - 1):
        one = slice(n, n + 1)
        context = None if batch.context is None else batch.context[one]
        alone = densities(model, Batch(batch.x[one], context, index[one]), tuple(group[:, one] for group in z))
        expected = {name: value[:, one] for name, value in watched.first.items()}
        worst = max(worst, watched.compare(alone, "with the other images", expected, 10 * ROUNDING))
    other = replace(batch, x=images(model.spec, IMAGES, 9).to(batch.x))
    found = densities(model, other, z)
    del found["log p(x|z)"]
    if model.decoder.autoregressive:
        del found["the decoder's output"]
    return f"{max(worst, watched.compare(found, 'with x')):.1g}"


@PROOFS.add("weights of now", *MODULE_SLOTS)
def weights_of_now(subject: Subject) -> str:
    """After the weights of a part, or the numbers in x and z, have changed in place, log p(x|z), log p(z), log q(z|x)
    and samples are those of a new model with these weights.

    A cache that is not renewed, or that is keyed by the identity or address of a tensor, gives the old values. In eval
    mode, and to rounding: 1e-5. Nothing is random: false alarm 0.
    """
    watched = _Watched.of(subject)
    model, batch, z = watched.model, _copied(watched.batch), _clones(watched.z)
    scores(model, batch, z)
    worst = 0.0
    for number, (name, part) in enumerate(model.named_children()):
        jitter(part, 101 + number)
        what = f"after the weights of the {name.removesuffix('_net')} changed"
        worst = max(worst, watched.compare(scores(model, batch, z), what, _new(watched, batch, z)))
    saved = copy.deepcopy(model.state_dict())
    jitter(model, 131)
    scores(model, batch, z)
    model.load_state_dict(saved)
    worst = max(
        worst, watched.compare(scores(model, batch, z), "after its weights were loaded", _new(watched, batch, z))
    )
    batch.x.copy_(images(model.spec, IMAGES, 10).to(batch.x))
    for group in z:
        group.copy_(group.flip(1))
    found = scores(model, batch, z)
    return f"{max(worst, watched.compare(found, 'where x and z changed in place', _new(watched, batch, z))):.1g}"


@PROOFS.add("in a fresh process", *MODULE_SLOTS)
def in_fresh_process(subject: Subject) -> str:
    """A new interpreter, with another hash seed, that loads the weights gives the same log p(x|z), log p(z),
    log q(z|x) and samples.

    Not in quick mode: it takes about 3 seconds. To rounding: 1e-5. Nothing is random: false alarm 0.
    """
    if subject.quick:
        raise NotRun("not in quick mode: a new interpreter takes seconds")
    watched = _Watched.of(subject)
    found = scores(watched.model, watched.batch, watched.z)
    expected = fresh_values(subject, watched.model, watched.batch, watched.z)
    return f"{watched.compare(found, 'from a new process to this one', expected):.1g}"


def _new(watched: _Watched, batch: Batch, z: Latents) -> Values:
    """The scores by a model that is built anew, with the same weights, of copies of the same points."""
    model = watched.subject.build(seed=1, altered=True)[0].eval()
    state = watched.model.state_dict()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise Wrong("cannot be loaded", str(error).splitlines()[-1].strip()) from None
    return scores(model, _copied(batch), _clones(z))
