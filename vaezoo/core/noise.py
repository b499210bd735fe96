"""The one source of random numbers inside a step or an estimate.

Numbers are a pure function of (key, image, sample, call, position): SplitMix64 (Steele et al. 2014) run as a counter,
in torch integers. So they do not depend on the block size, on the order of a batch, on the device, or on other seeds.
A key may be a tensor, so that `torch.func.vmap` can map over seeds and a CUDA graph can replay with a new key each
step. `normal`, `uniform`, `gamma`, `categorical` and `poisson` are the draws.

    with noise.stream(seed, index=batch.index):
        eps = noise.normal(K, B, Z)  # keyed by sample and image

In a stream with images a shape begins with [K, B]; nothing is guessed from it. What belongs to no image (the simulated
prior of an MMD, random projections) is keyed by step and position: `noise.step.normal(*shape)`, legal only in an
objective that declares `batch_coupled` and in `Prior.sample`. In a stream without images any shape is one run of
numbers. Outside any stream the numbers come from torch's global generator, so that `torch.manual_seed` works as usual
in a notebook.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from vaezoo.core import variates
from vaezoo.core.errors import VaezooError
from vaezoo.core.streams import (
    GLOBAL_GENERATOR,
    Source,
    Stream,
    coupled,
    derive,
    drawing_from,
    fallback,
    given_normals,
    next_given,
    observed_normals,
    repeatable,
    source,
    stream,
    without_images,
)
from vaezoo.core.words import GOLDEN, mix

__all__ = [
    "GLOBAL_GENERATOR",
    "GOLDEN",
    "Source",
    "StepDraws",
    "Stream",
    "bernoulli",
    "categorical",
    "coupled",
    "derive",
    "fallback",
    "gamma",
    "given_normals",
    "mix",
    "normal",
    "normals_of_calls",
    "observed_normals",
    "poisson",
    "repeatable",
    "source",
    "step",
    "stream",
    "uniform",
    "without_images",
]

LEGAL = "only in an objective that declares batch_coupled = True and in Prior.sample"
"""Where `noise.step` may be used."""


def _words(name: str, shape: tuple[int, ...], per_word: int, each: int, device: torch.device | str) -> Tensor:
    """Random 64-bit words for `each` numbers an element of this shape, `per_word` numbers a word. [..., W]

    Raises VaezooError in a stream with images where the shape is not [K, B, ...].
    """
    current = source()
    if current.stream is None:
        words = -(-math.prod(shape) * each // per_word)
        return torch.randint(-(1 << 63), (1 << 63) - 1, (words,), device=device)
    if (images := current.images) is not None and (len(shape) < 2 or shape[1] != images):
        argument = {"gamma": "concentration", "categorical": "logits", "poisson": "rate"}.get(name)
        own = f"{argument} [K, B={images}, ...]" if argument else f"K, B={images}, ..."
        raise VaezooError(
            f"noise.{name} got the shape {list(shape)} in a stream with {images} images: ask for noise.{name}({own}), "
            f"keyed by sample and image, or for noise.step.{name}({argument or '*shape'}), keyed by step and position, "
            f"which is legal {LEGAL}"
        )
    return current.stream.bits((*shape, each), per_word, images is not None)


def _shaped(numbers: Tensor, *shape: int) -> Tensor:
    """The first numbers of each row as a tensor of this shape. [..., N] -> shape"""
    rows = math.prod(numbers.shape[:-1])
    length = math.prod(shape) // max(rows, 1)
    return numbers[..., :length].reshape(shape)


def normal(*shape: int) -> Tensor:
    """Standard normal numbers of this shape: eps of z = mean + std * eps.

    In a stream with images the shape is [K, B, ...], keyed by sample and image, and VaezooError is raised for any other
    shape.
    """
    current = source()
    if current.given is not None:
        return next_given(current.given, shape)
    opened = current.stream
    if opened is None:
        return torch.randn(*shape)
    if opened.prefetched is not None and current.images is not None:
        if current.observed is not None:
            current.observed[opened.calls + 1] = shape
        if (known := opened.take_prefetched(shape)) is not None:
            return known
    word = _words("normal", shape, 2, 1, opened.key.device)
    return _shaped(variates.normals(word, opened.dtype), *shape).contiguous()


def uniform(*shape: int) -> Tensor:
    """Uniform numbers in the open interval (0, 1), never 0 or 1, on a grid of 2^-23. Keyed as `normal`."""
    opened = source().stream
    if opened is None:
        return torch.rand(*shape).clamp_(2.0**-24, 1 - 2.0**-24)
    word = _words("uniform", shape, 2, 1, opened.key.device)
    return _shaped(variates.uniforms(word, opened.dtype), *shape)


def gamma(concentration: Tensor) -> Tensor:
    """A Gamma(concentration, rate 1) number for each element: density z^(a - 1) e^-z / Gamma(a). Keyed as `normal`.

    Reparameterised: gradients flow to the concentration, as those of its quantile function (Figurnov et al. 2018,
    arXiv:1805.08498); second derivatives do not. The number is at least the dtype's smallest normal number, and NaN
    where the concentration is not above 0. Beta, Dirichlet and Student's t follow from it. For rejection and its
    rounds see `variates.gammas`.

    concentration: [K, B, ...] in a stream with images, else any shape.
    """
    shape, device, rounds = tuple(concentration.shape), concentration.device, variates.GAMMA_ROUNDS
    a = concentration.detach().double()
    eps = _shaped(variates.normals(_words("gamma", shape, 2, rounds, device), torch.float64), *shape, rounds)
    u = _shaped(variates.uniforms(_words("gamma", shape, 2, rounds, device), torch.float64), *shape, rounds)
    boost = _shaped(variates.fine_uniforms(_words("gamma", shape, 1, 1, device)), *shape)
    numbers: Tensor = variates.GammaNumbers.apply(concentration, variates.gammas(a, eps, u, boost))
    return numbers


def categorical(logits: Tensor) -> Tensor:
    """The number of a class, drawn with probability softmax(logits), for each row of logits. Keyed as `normal`.

    For probabilities hand over their logarithms; a class of logit -infinity is never drawn.

    logits: [K, B, ..., C] in a stream with images, else [..., C]; -> int64 without the last axis.
    """
    shape = tuple(logits.shape[:-1])
    word = _words("categorical", shape, 1, 1, logits.device)
    return variates.categories(logits.detach(), _shaped(variates.fine_uniforms(word), *shape))


def poisson(rate: Tensor) -> Tensor:
    """A Poisson(rate) number for each element, in the rate's dtype. It has no gradient. Keyed as `normal`.

    NaN where the rate is below 0 or not finite.

    rate: [K, B, ...] in a stream with images, else any shape.
    """
    shape = tuple(rate.shape)
    word = _words("poisson", shape, 1, 1, rate.device)
    u = _shaped(variates.fine_uniforms(word), *shape)
    return variates.poissons(rate.detach().double(), u).to(rate.dtype)


def bernoulli(levels: Tensor, top: int = 255) -> Tensor:
    """0/1 images drawn with probability levels / top: [B, *shape] uint8 -> the same, for dynamic binarisation.

    Four 16-bit numbers a word against round(levels * 65536 / top): the probability is within 2^-17 of the exact one,
    and levels 0 and `top` are exact. Keyed by image when a stream with images is open; VaezooError where it has another
    number of images.
    """
    current = source()
    if current.stream is None:
        return (torch.rand(levels.shape, device=levels.device) * top < levels).to(torch.uint8)
    images = current.images
    if images not in (None, len(levels)):
        raise VaezooError(f"noise.bernoulli got the levels of {len(levels)} images in a stream with {images} images")
    word = current.stream.bits((1, *levels.shape), 4, images is not None)
    draws = torch.cat([(word >> shift) & 0xFFFF for shift in (0, 16, 32, 48)], -1)
    threshold = levels.to(torch.float32).mul(65536 / top).round()
    return (_shaped(draws, *levels.shape) < threshold).to(torch.uint8)


def normals_of_calls(
    key: Tensor, index: Tensor, calls: Mapping[int, tuple[int, ...]], dtype: torch.dtype
) -> dict[int, Tensor]:
    """The results of these calls of `normal` in a stream with this key and these images. `vmap` draws those of many
    streams at once.
    """
    results = {}
    with stream(key, index=index, dtype=dtype) as opened:
        for number, shape in calls.items():
            opened.calls = number - 1
            results[number] = normal(*shape)
    return results


class StepDraws:
    """`noise.step`: the same draws of any shape, keyed by step and position.

    Such numbers belong to no image, so they depend on the batch. They are legal in an objective that declares
    `batch_coupled`, in `Prior.sample`, and wherever no stream with images is open. Elsewhere VaezooError.
    """

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers of this shape."""
        with _by_step("normal"):
            return normal(*shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers of this shape in the open interval (0, 1)."""
        with _by_step("uniform"):
            return uniform(*shape)

    def gamma(self, concentration: Tensor) -> Tensor:
        """A Gamma(concentration, rate 1) number for each element. [...] -> [...]"""
        with _by_step("gamma"):
            return gamma(concentration)

    def categorical(self, logits: Tensor) -> Tensor:
        """The number of a class, drawn with probability softmax(logits). [..., C] -> int64 [...]"""
        with _by_step("categorical"):
            return categorical(logits)

    def poisson(self, rate: Tensor) -> Tensor:
        """A Poisson(rate) number for each element. [...] -> [...]"""
        with _by_step("poisson"):
            return poisson(rate)


@contextmanager
def _by_step(name: str) -> Iterator[None]:
    """Inside, draws are keyed by step and position. VaezooError where that is not legal."""
    current = source()
    if current.images is not None and not current.coupled:
        raise VaezooError(
            f"noise.step.{name} is keyed by step and position, which is legal {LEGAL}; "
            f"elsewhere noise.{name} is keyed by sample and image"
        )
    with drawing_from(replace(current, by_step=True)):
        yield


step = StepDraws()
