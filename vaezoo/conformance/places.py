"""Places at which derivatives are taken: a model near its start or far from it, in train or in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.conformance.subject import Subject, keyed
from vaezoo.core.contracts import Latents, supports
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel

SAMPLES = 4
"""K of every pass."""
FAR = 4.0
"""The factor of all weights far from the start: units are saturated, standard deviations at their bounds."""
OF_PASS = ("z[", "log q(z|x)", "log p(z)", "log p(x|z)", "KL")
"""How the titles of the terms of a pass begin, whose z moves with the parameters; the others are of a given z."""


@dataclass
class Place:
    """A model, its images and given latents, and the tensors by which its terms are differentiated.

    batch: the images that p(x|z) scores. seen: those that the encoder sees; the same where images are continuous. z:
    given latents, of magnitudes 0.1 to 10 near and to 100 far. leaves: title -> a parameter, or an input: x, context,
    z, and two offsets of value 0, or far out of 5, added to the features and to the parameters of p(x|z).
    """

    title: str
    model: LatentModel
    batch: Batch
    seen: Batch
    z: Latents
    leaves: dict[str, Tensor]

    def terms(self) -> dict[str, Tensor]:
        """Every term of the bounds at fixed noise, of a pass and of the given z."""
        model, batch = self.model, self.batch
        with self._offsets(), keyed(0, model, batch):
            q = model.posterior(self.seen)
            draws = model.draw_from(q, batch, SAMPLES)
            found = {f"z[{n}]": group for n, group in enumerate(draws.z)}
            found |= {
                "log q(z|x)": draws.log_posterior,
                "log p(z)": draws.log_prior,
                "log p(x|z)": draws.log_likelihood,
            }
            found |= {f"KL[{n}]": group for n, group in enumerate(draws.kl or ())}
            found["given z, log p(x|z)"] = model.log_likelihood(batch, self.z)
            found["given z, log p(z)"] = model.log_prior(batch, self.z)
            if (score := q.log_prob(self.z)) is not None:
                found["given z, log q(z|x)"] = score
            found |= {f"given z, KL[{n}]": group for n, group in enumerate(model.kl(batch, q, self.z) or ())}
        return found

    @contextmanager
    def _offsets(self) -> Iterator[None]:
        """Inside, the offsets are added to what encoder and decoder give."""

        def adding(title: str) -> Any:
            """A hook that adds an offset."""
            return lambda module, inputs, output: output + self.leaves[title]

        hooked = ((self.model.encoder, "the features"), (self.model.decoder, "the parameters of p(x|z)"))
        hooks = [part.register_forward_hook(adding(title)) for part, title in hooked]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def places(subject: Subject) -> Iterator[Place]:
    """A place near the start and one far from it, each in eval and in train mode, with few components or layers."""
    for far in (False, True):
        model = subject.build(double=True, altered=True, few=True)[0]
        if far:
            spread(model)
        for training in (False, True):
            yield place(subject, model.train(training), far)


@torch.no_grad()
def spread(module: nn.Module, factor: float = FAR) -> None:
    """Multiply all parameters by a factor."""
    for parameter in module.parameters():
        parameter.mul_(factor)


def place(subject: Subject, model: LatentModel, far: bool) -> Place:
    """The place of a model as it stands, with images at their ends and large latents where it is far."""
    generator = torch.Generator().manual_seed(41 + far)
    batch = subject.batch(model, training=model.training)
    x, seen = _images(model, batch.x, far, generator)
    context = None if batch.context is None else (batch.context * (FAR if far else 1)).requires_grad_()
    seen = seen.detach().clone().requires_grad_()
    batch = replace(batch, x=seen if model.spec.measure == "continuous" else x, context=context)
    leaves: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
    leaves |= {} if far else {"x": seen}  # at its ends a clamp has a kink
    leaves |= {} if context is None else {"context": context}
    size = 5.0 if far else 0.0
    for title, shape in (
        ("the features", model.encoder.features),
        ("the parameters of p(x|z)", model.likelihood.parameter_shape),
    ):
        drawn = torch.randn(tuple(shape), generator=generator, dtype=model.dtype)
        leaves[title] = (drawn * (size if title != "the features" else 0.0)).requires_grad_()
    z = _latents(model, batch, far, generator)
    for n, support in enumerate(supports(model.posterior_net, len(z))):
        if support not in ("sphere", "discrete"):  # whose points cannot be moved along a straight line
            leaves[f"given z[{n}]"] = z[n].requires_grad_()
    title = f"{'far from' if far else 'near'} the start, in {'train' if model.training else 'eval'} mode"
    return Place(title, model, batch, replace(batch, x=seen), z, leaves)


def _images(model: LatentModel, x: Tensor, far: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images to be scored, and to be encoded. Near the start no two pixels that are encoded are equal, so that no
    maximum over pixels is a tie, and all can be moved; far from it they are at their ends.
    """
    spread_out = 0.02 * torch.rand(x.shape, generator=generator, dtype=x.dtype)
    if model.spec.measure == "continuous":
        x = x if not far else 10 * x if model.spec.levels is None else 1e-4 + 0.9998 * x.round()
        return x, x
    if model.spec.measure == "counts":
        x = torch.where(x > 2, 50.0, 0.0).to(x) if far else x
        return x, x if far else x + 0.3 + spread_out
    x = x.round() if far else x
    return x, x if far else 0.05 + 0.85 * x + spread_out


@torch.no_grad()
def _latents(model: LatentModel, batch: Batch, far: bool, generator: torch.Generator) -> Latents:
    """Latents of many magnitudes on the real line, and draws of q elsewhere. Each [SAMPLES, B, Z_l]"""
    with keyed(1, model, batch):
        drawn = model.draw(batch, SAMPLES).z
    found = []
    for group, support in zip(drawn, supports(model.posterior_net, len(drawn)), strict=True):
        size = 10 ** (-1 + (3 if far else 2) * torch.rand(group.shape[:2], generator=generator, dtype=group.dtype))
        wide = size[..., None] * torch.randn(group.shape, generator=generator, dtype=group.dtype)
        found.append(wide if support == "real" else group.detach().clone())
    return tuple(found)
