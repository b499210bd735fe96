"""Keys, streams, and the one source that the draws of `vaezoo.core.noise` take their words from."""

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
from vaezoo.core.words import GOLDEN, SECOND, counted, mix, signed


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

    def bits(self, shape: tuple[int, ...], per_word: int, by_image: bool) -> Tensor:
        """64-bit words for a tensor of this shape, `per_word` numbers each. [K, B, W] by image, else [1, 1, W]

        by_image: whether the shape is [K, B, ...], keyed by sample and image. Else it is one run of numbers.
        """
        self.calls += 1
        rows, _, *rest = shape if by_image else (1, 1, *shape)
        words = -(-math.prod(rest) // per_word)
        first = self.first if by_image else 0
        counter = torch.arange(first * words + 1, (first + 1) * words + 1, device=self.key.device)
        base = self._base()
        if by_image and self.index is not None:
            base = mix(base ^ mix(self.index + SECOND))
        return counted(base.view(-1, 1) + counter * GOLDEN, rows, words)

    def without_images(self) -> "Stream":
        """A stream without images that counts its own calls. Its key is derived from this key and one call's number."""
        self.calls += 1
        return Stream(self._base().view(()), None, 0, self.dtype, None)

    def _base(self) -> Tensor:
        """The start of the counter from which the words of the current call are mixed. [1]"""
        return mix(self.key.reshape(1) + signed(self.calls * GOLDEN % (1 << 64)))


@dataclass(frozen=True)
class Source:
    """What the functions of this module draw from. A context replaces the whole source and restores it at its end.

    stream: the open stream, or None for torch's global generator. given: tensors that the calls of `normal` return in
    turn, in place of any drawing, or None. observed: where the calls of `normal` that may be prefetched are noted,
    number -> shape, or None. coupled: whether `noise.step` is legal in a stream with images. by_step: whether the
    current draw is one of `noise.step`.
    """

    stream: Stream | None = None
    given: deque[Tensor] | None = None
    observed: dict[int, tuple[int, ...]] | None = None
    coupled: bool = False
    by_step: bool = False

    @property
    def images(self) -> int | None:
        """The number of images whose draws are keyed by image, or None where draws are one run of numbers."""
        index = None if self.stream is None or self.by_step else self.stream.index
        return None if index is None else index.shape[0]


GLOBAL_GENERATOR = Source()
"""The source outside all contexts: torch's own generator."""
_source: ContextVar[Source] = ContextVar("vaezoo_noise", default=GLOBAL_GENERATOR)


def source() -> Source:
    """The current source."""
    return _source.get()


@contextmanager
def drawing_from(new: Source) -> Iterator[None]:
    """Make `new` the current source inside."""
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
    """Open a stream: inside it all draws are functions of (key, image, sample, call, position).

    key: an integer, best from `derive`, or an int64 scalar tensor (the stream is then on its device). index: [B] int64,
    the images' numbers in their split. first: number of the first sample of a block. Samples 0..9 drawn at once or in
    two blocks are the same numbers. prefetched: results of some calls of `normal`, from `normals_of_calls`.
    """
    if not isinstance(key, Tensor):
        device = index.device if device is None and index is not None else device
        key = torch.tensor(key, dtype=torch.int64, device=device)
    opened = Stream(key, index, first, dtype or torch.get_default_dtype(), prefetched)
    with drawing_from(replace(source(), stream=opened)):
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
def coupled(allowed: bool) -> Iterator[None]:
    """Make `noise.step` legal inside, or illegal. An objective's forward runs in `coupled(objective.batch_coupled)`."""
    with drawing_from(replace(source(), coupled=allowed)):
        yield


@contextmanager
def without_images() -> Iterator[None]:
    """Inside, the open stream has no images: a shape is one run of numbers. `Prior.sample` runs in it.

    The stream inside is derived from the open one and counts as one call of it. Where the open stream has no images, or
    none is open, nothing changes.
    """
    opened = source().stream
    if opened is None or opened.index is None:
        yield
        return
    with drawing_from(replace(source(), stream=opened.without_images())):
        yield


@contextmanager
def repeatable(key: Tensor) -> Iterator[None]:
    """Inside, draws are a function of the open stream and this key, not of how many calls came before: code that runs
    twice in one stream draws the same numbers twice. Outside any stream nothing changes.

    key: int64 scalar tensor.
    """
    opened = source().stream
    if opened is None:
        yield
        return
    own = Stream(mix(opened.key ^ mix(key)), opened.index, opened.first, opened.dtype, None)
    with drawing_from(replace(source(), stream=own)):
        yield


@contextmanager
def observed_normals() -> Iterator[dict[int, tuple[int, ...]]]:
    """The calls of `normal` by sample and image, number -> shape, in streams opened inside with `prefetched`, even an
    empty one. (Draws of `noise.step` and those inside `without_images` are not prefetched.)
    """
    calls: dict[int, tuple[int, ...]] = {}
    with drawing_from(replace(source(), observed=calls)):
        yield calls


@contextmanager
def given_normals(values: Sequence[Tensor]) -> Iterator[None]:
    """Inside, each call of `normal` returns the next of these tensors, so that samples can be differentiated by their
    noise.

    Raises VaezooError where a call asks for another shape or for more.
    """
    with drawing_from(replace(source(), given=deque(values))):
        yield


def next_given(given: deque[Tensor], shape: tuple[int, ...]) -> Tensor:
    """The next of the given tensors, if it has this shape."""
    if not given or tuple(given[0].shape) != tuple(shape):
        left = list(given[0].shape) if given else "nothing more"
        raise VaezooError(f"normal noise of shape {list(shape)} was asked for, got {left}")
    return given.popleft()
