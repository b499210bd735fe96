"""What an evaluation in which no weight changes computes once: the encodings that a prior requests, and the layout in
which a library multiplies by a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vaezoo.core import products
from vaezoo.core.own_code import outside_code

if TYPE_CHECKING:
    from vaezoo.core.contracts import PosteriorDistribution

KEPT = 8
"""How many encodings one evaluation keeps: those of the first sets of images that are encoded."""


@dataclass
class _Encoding:
    """q(z|x) of some images, and what shows that images and q are still those that they were."""

    x: Tensor
    context: Tensor | None
    q: PosteriorDistribution
    versions: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.versions = self._versions()

    def _versions(self) -> tuple[int, ...]:
        """How often each tensor was written to. torch counts it."""
        own = (self.x, self.context, *getattr(self.q, "__dict__", {}).values())
        return tuple(each._version for each in own if isinstance(each, Tensor))

    def fits(self, x: Tensor, context: Tensor | None) -> bool:
        """Whether it is that of these images. Other tensors with equal values count, such as clamped pseudo-inputs."""
        return _equal(self.x, x) and _equal(self.context, context) and self._versions() == self.versions


@dataclass
class _Layout:
    """A weight as a library's product reads it, and what shows that the weight is still the one that it was."""

    library: str
    weight: Tensor
    laid_out: Tensor
    state: tuple[Any, ...] = field(init=False)
    memory: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.state = self._state()
        self.memory = self.weight.detach()  # held, so that no other tensor gets its address

    def _state(self) -> tuple[Any, ...]:
        """Where the weight lies and how, and how often it was written to, as far as torch counts it."""
        return self.weight.data_ptr(), self.weight.stride(), self.weight._version

    def fits(self, library: str) -> bool:
        """Whether it is this library's, and the weight has the same memory, to which nothing was written that torch
        counts.
        """
        return library == self.library and self._state() == self.state


@dataclass
class _Evaluation:
    """The encodings of one model in one evaluation, and the layouts of the weights in it, by their identity.

    layouts: None where code from outside runs. It may write to a weight in a way that torch does not count, such as to
    its `data`.
    """

    model: nn.Module
    encodings: list[_Encoding] = field(default_factory=list)
    layouts: dict[int, _Layout] | None = field(init=False)

    def __post_init__(self) -> None:
        outside = any(True for module in self.model.modules() for _ in outside_code(module))
        self.layouts = None if outside else {}


_running: ContextVar[_Evaluation | None] = ContextVar("evaluation", default=None)


@contextmanager
def weights_fixed(model: nn.Module) -> Iterator[None]:
    """Within it `encoded` computes each encoding of this model once, in eval mode and without gradients, and `laid_out`
    the layout of each weight.

    It is for code in which no weight changes: one estimate of log p(x). Both are forgotten at its end. A weight that is
    laid out is in memory twice.
    """
    token = _running.set(_Evaluation(model))
    try:
        yield
    finally:
        _running.reset(token)


def encoded(
    model: nn.Module, encode: Callable[[], PosteriorDistribution], x: Tensor, context: Tensor | None
) -> PosteriorDistribution:
    """q(z|x) of images by `encode`, or the one that it gave for equal images in the same evaluation, bit for bit.

    x: [N, *shape]. context: [N, C] or None.
    """
    running = _running.get()
    if running is None or running.model is not model or model.training:
        return encode()
    if torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        return encode()
    for each in running.encodings:
        if each.fits(x, context):
            return each.q
    q = encode()
    tracked = not any(each is not None and each.is_inference() for each in (x, context))
    if tracked and len(running.encodings) < KEPT:
        running.encodings.append(_Encoding(x, context, q))
    return q


def laid_out(library: str, weight: Tensor) -> Tensor:
    """A layer's weight as a library's product reads it, arranged once an evaluation. The product is the same, bit for
    bit, and takes some percent less time. [out, in]

    The weight itself outside an evaluation, in one of a model with code from outside, and where its memory has gaps or
    overlaps: there oneDNN rounds otherwise.
    """
    running = _running.get()
    if running is None or running.layouts is None:
        return weight
    if type(weight) is not nn.Parameter or weight.is_inference():
        return weight
    if not (weight.is_contiguous() or weight.t().is_contiguous()):
        return weight
    kept = running.layouts.get(id(weight))
    if kept is None or not kept.fits(library):
        kept = running.layouts[id(weight)] = _Layout(library, weight, products.arranged(library, weight.detach()))
    return kept.laid_out


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None or a is b:
        return a is b
    return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
