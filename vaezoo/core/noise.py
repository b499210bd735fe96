"""The one source of random numbers inside a step or an estimate.

Numbers are a pure function of (key, image, sample, call, position): SplitMix64 (Steele et al. 2014) run as a counter,
in torch integers. So they do not depend on the block size, on the order of a batch, on the device, or on what other
seeds are doing; a key may be a tensor, which lets `torch.func.vmap` map over seeds and a CUDA graph replay with a new
key each step.

    with noise.stream(seed, index=batch.index):
        eps = noise.normal(K, B, Z)

Outside any stream the numbers come from torch's global generator, so that `torch.manual_seed` works as usual in a
notebook.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from vaezoo.core.errors import VaezooError


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


GOLDEN = _signed(0x9E3779B97F4A7C15)
FIRST = _signed(0xBF58476D1CE4E5B9)
SECOND = _signed(0x94D049BB133111EB)


def mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of the 64-bit integers under which neighbours become unrelated. int64, any
    shape.
    """
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
    """Where the numbers of one block of images and samples come from.

    key: int64 scalar tensor. index: which image each row of the block is, [B], or None. first: the number of the
    block's first sample. Calls are numbered as they come, so the same code draws the same numbers. ahead: number of a
    call of `normal` -> what it gives, as `normals` drew it before.
    """

    def __init__(
        self, key: Tensor, index: Tensor | None, first: int, dtype: torch.dtype, ahead: Mapping[int, Tensor] | None
    ):
        self.key, self.index, self.first, self.dtype, self.ahead = key, index, first, dtype, ahead
        self.calls = 0

    def drawn(self, shape: tuple[int, ...]) -> Tensor | None:
        """What the next call of `normal` gives, where that is known already."""
        if self.ahead is None:
            return None
        noted, number = _noted.get(), self.calls + 1
        if noted is not None:
            noted[number] = shape
        value = self.ahead.get(number)
        if value is None or value.shape != shape:
            return None
        self.calls = number
        return value

    def bits(self, shape: tuple[int, ...], per_word: int) -> tuple[Tensor, int]:
        """64-bit words for a tensor of this shape, `per_word` numbers each along the last axis, and that axis's length.

        With images open, a shape [K, B, ...] is keyed by sample and image; any other shape is one run of numbers.
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


_open: ContextVar[Stream | None] = ContextVar("vaezoo_noise", default=None)
_taken: ContextVar[Callable[[tuple[int, ...]], Tensor] | None] = ContextVar("vaezoo_noise_handed", default=None)
_noted: ContextVar[dict[int, tuple[int, ...]] | None] = ContextVar("vaezoo_noise_noted", default=None)


@contextmanager
def stream(
    key: int | Tensor,
    *,
    index: Tensor | None = None,
    first: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    ahead: Mapping[int, Tensor] | None = None,
) -> Iterator[Stream]:
    """Open a stream: inside it `normal` and `uniform` are functions of (key, image, sample, call, position).

    key: an integer, best from `derive`, or an int64 scalar tensor of one (its device is then the stream's). index: [B]
    int64, the images' numbers in their split. first: number of the first sample of a block; drawing samples 0..9 at
    once or in two blocks gives the same numbers. ahead: what some calls of `normal` give, of `normals`.
    """
    if not isinstance(key, Tensor):
        device = index.device if device is None and index is not None else device
        key = torch.tensor(key, dtype=torch.int64, device=device)
    opened = Stream(key, index, first, dtype or torch.get_default_dtype(), ahead)
    token = _open.set(opened)
    try:
        yield opened
    finally:
        _open.reset(token)


@contextmanager
def fallback(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Open a stream keyed by torch's global generator where none is open, so that plugins always draw on the model's
    device.
    """
    if _open.get() is not None:
        yield
        return
    with stream(int(torch.randint(1 << 62, ())), device=device, dtype=dtype):
        yield


@contextmanager
def noted() -> Iterator[dict[int, tuple[int, ...]]]:
    """The calls of `normal` inside, number -> shape, in streams that could be given what was drawn before."""
    calls: dict[int, tuple[int, ...]] = {}
    token = _noted.set(calls)
    try:
        yield calls
    finally:
        _noted.reset(token)


def normals(key: Tensor, index: Tensor, calls: Mapping[int, tuple[int, ...]], dtype: torch.dtype) -> dict[int, Tensor]:
    """What these calls of `normal` give in a stream with this key and these images. `vmap` draws for many at once."""
    found = {}
    with stream(key, index=index, dtype=dtype) as opened:
        for number, shape in calls.items():
            opened.calls = number - 1
            found[number] = normal(*shape)
    return found


@contextmanager
def handed(values: Sequence[Tensor]) -> Iterator[None]:
    """Inside, each call of `normal` gives the next of these tensors: to differentiate samples by their noise.

    Raises VaezooError where a call asks for another shape or for more.
    """
    waiting = list(values)

    def take(shape: tuple[int, ...]) -> Tensor:
        """The next tensor, if it has this shape."""
        if not waiting or tuple(waiting[0].shape) != tuple(shape):
            left = list(waiting[0].shape) if waiting else "nothing more"
            raise VaezooError(f"normal noise of shape {list(shape)} was asked for where {left} was handed over")
        return waiting.pop(0)

    token = _taken.set(take)
    try:
        yield
    finally:
        _taken.reset(token)


def normal(*shape: int) -> Tensor:
    """Standard normal numbers of this shape: eps of z = mean + std * eps. In a stream, [K, B, ...] is keyed by sample
    and image.

    Box and Muller (1958) on 40 + 24 bits of each word: |eps| reaches 7.5, and float32 and float64 see the same numbers
    rounded.
    """
    current, take = _open.get(), _taken.get()
    if take is not None:
        return take(shape)
    if current is None:
        return torch.randn(*shape)
    if (ready := current.drawn(shape)) is not None:
        return ready
    word, length = current.bits(shape, per_word=2)
    high = (word >> 24).bitwise_and_((1 << 40) - 1)
    radius = high.to(current.dtype).add_(0.5).mul_(2.0**-40).log_().mul_(-2).sqrt_()
    angle = (word & ((1 << 24) - 1)).to(current.dtype).mul_(2 * math.pi * 2.0**-24)
    return torch.cat([radius * angle.cos(), angle.sin_().mul_(radius)], -1)[..., :length].reshape(shape).contiguous()


def uniform(*shape: int) -> Tensor:
    """Uniform numbers in the open interval (0, 1), never 0 or 1, on a grid of 2^-23. Keyed as `normal`."""
    current = _open.get()
    if current is None:
        return torch.rand(*shape).clamp_(2.0**-24, 1 - 2.0**-24)
    word, length = current.bits(shape, per_word=2)
    mask = (1 << 23) - 1
    both = torch.cat([(word >> 41) & mask, (word >> 18) & mask], -1)[..., :length]
    return both.to(current.dtype).add(0.5).mul(2.0**-23).reshape(shape)


def bernoulli(levels: Tensor, top: int = 255) -> Tensor:
    """0/1 images drawn with probability levels / top: [B, *shape] uint8 -> the same, for dynamic binarisation.

    Four 16-bit numbers a word against round(levels * 65536 / top): the probability is within 2^-17 of the exact one,
    and 0 and `top` never err. Keyed by image when a stream with images is open.
    """
    current = _open.get()
    if current is None:
        return (torch.rand(levels.shape, device=levels.device) * top < levels).to(torch.uint8)
    word, length = current.bits((1, levels.shape[0], math.prod(levels.shape[1:])), per_word=4)
    draws = torch.cat([(word >> shift) & 0xFFFF for shift in (0, 16, 32, 48)], -1)[..., :length]
    threshold = levels.to(torch.float32).mul(65536 / top).round()
    return (draws.reshape(levels.shape) < threshold).to(torch.uint8)
