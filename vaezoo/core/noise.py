"""The one source of random numbers inside a step or an estimate.

Numbers are a pure function of (key, image, sample, call, position): SplitMix64 (Steele et al. 2014) run as a counter,
in torch integers. So they do not depend on the block size, on the order of a batch, on the device, or on other seeds.
A key may be a tensor, so that `torch.func.vmap` can map over seeds and a CUDA graph can replay with a new key each
step.

    with noise.stream(seed, index=batch.index):
        eps = noise.normal(K, B, Z)

Outside any stream the numbers come from torch's global generator, so that `torch.manual_seed` works as usual in a
notebook.
"""

import hashlib
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaezoo.core.errors import VaezooError


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


GOLDEN = _signed(0x9E3779B97F4A7C15)
FIRST = _signed(0xBF58476D1CE4E5B9)
SECOND = _signed(0x94D049BB133111EB)


def mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of the 64-bit integers that makes neighbours unrelated. int64, any shape."""
    for by, factor in ((30, FIRST), (27, SECOND), (31, 1)):
        shifted = z >> by
        shifted &= (1 << 64 - by) - 1  # a logical shift: torch's keeps the sign
        shifted ^= z
        if factor != 1:
            shifted *= factor
        z = shifted
    return z


def derive(seed: int, *axis: object) -> int:
    """A 63-bit seed of its own for each axis of randomness: `derive(seed, "initialisation")`, `derive(seed, "order",
    epoch)`.

    The same on every machine and in every process (sha256, not `hash`).
    """
    text = "/".join(str(part) for part in (seed, *axis))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Stream:
    """The key, the images and the samples that the numbers of one block are a function of.

    key: int64 scalar tensor. index: which image each row of the block is, [B], or None. first: number of the block's
    first sample. prefetched: number of a call of `normal` -> its result, which `normals_of_calls` drew before, or None.
    calls: number of the last call. The same code makes the same calls in the same order, so it draws the same numbers.
    """

    def __init__(
        self,
        key: Tensor,
        index: Tensor | None,
        first: int,
        dtype: torch.dtype,
        prefetched: Mapping[int, Tensor] | None,
    ):
        self.key, self.index, self.first, self.dtype, self.prefetched = key, index, first, dtype, prefetched
        self.calls = 0

    def take_prefetched(self, shape: tuple[int, ...]) -> Tensor | None:
        """The result of the next call of `normal` where it was drawn before, with this shape; else None."""
        value = None if self.prefetched is None else self.prefetched.get(self.calls + 1)
        if value is None or value.shape != shape:
            return None
        self.calls += 1
        return value

    def bits(self, shape: tuple[int, ...], per_word: int) -> tuple[Tensor, int]:
        """64-bit words for a tensor of this shape, `per_word` numbers each along the last axis, and that axis's length.

        In a stream with images, a shape [K, B, ...] is keyed by sample and image. Any other shape is one run of
        numbers.
        """
        self.calls += 1
        by_image = self.index is not None and len(shape) >= 2 and shape[1] == self.index.shape[0]
        rows, _, *rest = shape if by_image else (1, 1, *shape)
        length = math.prod(rest)
        words = -(-length // per_word)
        first = self.first if by_image else 0
        counter = torch.arange(first * words + 1, (first + rows) * words + 1, device=self.key.device)
        base = mix(self.key.reshape(1) + _signed(self.calls * GOLDEN % (1 << 64)))
        if by_image and self.index is not None:
            base = mix(base ^ mix(self.index + SECOND))
        return mix(base.view(1, -1, 1) + counter.view(rows, 1, words) * GOLDEN), length


@dataclass(frozen=True)
class Source:
    """What the functions of this module draw from. A context replaces the whole source and restores it at its end.

    stream: the open stream, or None for torch's global generator. given: tensors that the calls of `normal` return in
    turn, in place of any drawing, or None. observed: where the calls of `normal` in streams that may have prefetched
    numbers are noted, number -> shape, or None.
    """

    stream: Stream | None = None
    given: deque[Tensor] | None = None
    observed: dict[int, tuple[int, ...]] | None = None


GLOBAL_GENERATOR = Source()
"""The source outside all contexts: torch's own generator."""
_source: ContextVar[Source] = ContextVar("vaezoo_noise", default=GLOBAL_GENERATOR)


def source() -> Source:
    """The current source."""
    return _source.get()


@contextmanager
def _drawing_from(new: Source) -> Iterator[None]:
    token = _source.set(new)
    try:
        yield
    finally:
        _source.reset(token)


@contextmanager
def stream(
    key: int | Tensor,
    *,
    index: Tensor | None = None,
    first: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    prefetched: Mapping[int, Tensor] | None = None,
) -> Iterator[Stream]:
    """Open a stream: inside it `normal` and `uniform` are functions of (key, image, sample, call, position).

    key: an integer, best from `derive`, or an int64 scalar tensor (the stream is then on its device). index: [B] int64,
    the images' numbers in their split. first: number of the first sample of a block. Samples 0..9 drawn at once or in
    two blocks are the same numbers. prefetched: results of some calls of `normal`, from `normals_of_calls`.
    """
    if not isinstance(key, Tensor):
        device = index.device if device is None and index is not None else device
        key = torch.tensor(key, dtype=torch.int64, device=device)
    opened = Stream(key, index, first, dtype or torch.get_default_dtype(), prefetched)
    with _drawing_from(replace(source(), stream=opened)):
        yield opened


@contextmanager
def fallback(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Open a stream keyed by torch's global generator where none is open, so that plugins always draw on the model's
    device.
    """
    if source().stream is not None:
        yield
        return
    with stream(int(torch.randint(1 << 62, ())), device=device, dtype=dtype):
        yield


@contextmanager
def observed_normals() -> Iterator[dict[int, tuple[int, ...]]]:
    """The calls of `normal` inside, number -> shape, in streams that are opened with `prefetched`, were it empty."""
    calls: dict[int, tuple[int, ...]] = {}
    with _drawing_from(replace(source(), observed=calls)):
        yield calls


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


@contextmanager
def given_normals(values: Sequence[Tensor]) -> Iterator[None]:
    """Inside, each call of `normal` returns the next of these tensors, so that samples can be differentiated by their
    noise.

    Raises VaezooError where a call asks for another shape or for more.
    """
    with _drawing_from(replace(source(), given=deque(values))):
        yield


def _next_given(given: deque[Tensor], shape: tuple[int, ...]) -> Tensor:
    """The next of the given tensors, if it has this shape."""
    if not given or tuple(given[0].shape) != tuple(shape):
        left = list(given[0].shape) if given else "nothing more"
        raise VaezooError(f"normal noise of shape {list(shape)} was asked for where {left} was handed over")
    return given.popleft()


def normal(*shape: int) -> Tensor:
    """Standard normal numbers of this shape: eps of z = mean + std * eps. In a stream, [K, B, ...] is keyed by sample
    and image.

    Box and Muller (1958) on 40 + 24 bits of each word: |eps| reaches 7.5, and float32 gets the numbers of float64,
    rounded.
    """
    current = source()
    if current.given is not None:
        return _next_given(current.given, shape)
    opened = current.stream
    if opened is None:
        return torch.randn(*shape)
    if opened.prefetched is not None:
        if current.observed is not None:
            current.observed[opened.calls + 1] = shape
        if (known := opened.take_prefetched(shape)) is not None:
            return known
    word, length = opened.bits(shape, per_word=2)
    high = (word >> 24).bitwise_and_((1 << 40) - 1)
    radius = high.to(opened.dtype).add_(0.5).mul_(2.0**-40).log_().mul_(-2).sqrt_()
    angle = (word & ((1 << 24) - 1)).to(opened.dtype).mul_(2 * math.pi * 2.0**-24)
    return torch.cat([radius * angle.cos(), angle.sin_().mul_(radius)], -1)[..., :length].reshape(shape).contiguous()


def uniform(*shape: int) -> Tensor:
    """Uniform numbers in the open interval (0, 1), never 0 or 1, on a grid of 2^-23. Keyed as `normal`."""
    opened = source().stream
    if opened is None:
        return torch.rand(*shape).clamp_(2.0**-24, 1 - 2.0**-24)
    word, length = opened.bits(shape, per_word=2)
    mask = (1 << 23) - 1
    both = torch.cat([(word >> 41) & mask, (word >> 18) & mask], -1)[..., :length]
    return both.to(opened.dtype).add(0.5).mul(2.0**-23).reshape(shape)


def bernoulli(levels: Tensor, top: int = 255) -> Tensor:
    """0/1 images drawn with probability levels / top: [B, *shape] uint8 -> the same, for dynamic binarisation.

    Four 16-bit numbers a word against round(levels * 65536 / top): the probability is within 2^-17 of the exact one,
    and levels 0 and `top` are exact. Keyed by image when a stream with images is open.
    """
    opened = source().stream
    if opened is None:
        return (torch.rand(levels.shape, device=levels.device) * top < levels).to(torch.uint8)
    word, length = opened.bits((1, levels.shape[0], math.prod(levels.shape[1:])), per_word=4)
    draws = torch.cat([(word >> shift) & 0xFFFF for shift in (0, 16, 32, 48)], -1)[..., :length]
    threshold = levels.to(torch.float32).mul(65536 / top).round()
    return (draws.reshape(levels.shape) < threshold).to(torch.uint8)
