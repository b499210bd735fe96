"""How many samples of how many images are evaluated at once: a guess from cache or memory, then a measurement."""

import math
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import torch

from vaezoo.core.freed_memory import keep_freed_memory
from vaezoo.core.model import LatentModel

IMAGES_A_BLOCK = 100
"""Images that are evaluated at once, where there are MANY_SAMPLES of each; with fewer there are more images."""
MANY_SAMPLES, MOST_TIMES = 32, 4
GPU_BLOCK = 2**27
"""The guess on a GPU, in elements of the decoder's widest layer."""
PIECE = 2**20
"""What a thread of a CPU decodes at once, in elements of the decoder's widest layer: 4 MB of float32, which stay near
the core until the likelihood has read them.
"""
MOST_PIECES = 2
"""Threads that get a piece each; more of them share these, so that the smallest block that is tried is a piece."""
CPU_BLOCK = 4 * MOST_PIECES * PIECE
"""The guess on a CPU: the latents of so many samples are drawn in few operations."""
LARGE = 128
"""A job is measured where it has at least this many blocks of the guessed size."""
ROUNDS = 3
"""How often each size is tried; the fastest time counts."""

_chosen: dict[Hashable, int] = {}


def images_a_block(device: torch.device, samples: int) -> int:
    """How many images are evaluated at once with K samples each, where memory allows."""
    images = IMAGES_A_BLOCK * min(max(1, MANY_SAMPLES // samples), MOST_TIMES)
    return images if device.type == "cpu" else 10 * images


def out_of_memory(error: Exception) -> bool:
    """Whether an error comes from the allocator of the GPU or of the CPU."""
    messages = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in messages)


class BlockSize:
    """How many samples of B images the next block evaluates.

    The guess is 32 MB of the decoder's widest layer on a CPU, which is decoded in pieces, or 512 MB on a GPU. A large
    job tries a quarter to four times the guess in its first blocks, whose samples count like all others, and keeps the
    fastest size. Later jobs of this process start from it where structure, precision, images, device and threads are
    the same.

    samples: K. left: how many images the job still has, including these. decoded: how many samples of a block are
    decoded at once.
    """

    def __init__(self, model: LatentModel, images: int, samples: int, left: int):
        keep_freed_memory()
        self.device = model.device
        self._situation = _situation(model, images)
        layers = [parameter.shape[0] for parameter in model.decoder.parameters() if parameter.dim()]
        widest = max(math.prod(model.likelihood.parameter_shape), *layers, 1)
        on_cpu = self.device.type == "cpu"
        pieces = PIECE * min(torch.get_num_threads(), MOST_PIECES)
        self.decoded = max(1, pieces // (images * widest)) if on_cpu else samples
        guess = self._in_pieces((CPU_BLOCK if on_cpu else GPU_BLOCK) // (images * widest))
        trials = ROUNDS * sorted({self._in_pieces(guess * factor // 4) for factor in (1, 2, 4, 8, 16)})
        known = self._situation in _chosen
        large = left * samples >= LARGE * guess * images and samples >= sum(trials)
        self._size = _chosen.get(self._situation, guess)
        self._trials = trials if large and not known else []
        self._seconds: dict[int, float] = {}

    def _in_pieces(self, size: int) -> int:
        """A size, or a little less, that is whole pieces: then no number depends on which size is the fastest."""
        return size // self.decoded * self.decoded or max(1, size)

    @property
    def samples(self) -> int:
        """The size of the next block."""
        return self._trials[0] if self._trials else self._size

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time the block that runs inside. While sizes are tried, it waits for the device before and after."""
        if not self._trials:
            yield
            return
        start = now(self.device)
        yield
        size = self._trials.pop(0)
        self._seconds[size] = min((now(self.device) - start) / size, self._seconds.get(size, math.inf))
        if not self._trials:
            self._keep(min(self._seconds, key=self._seconds.__getitem__))

    def halve(self, size: int) -> None:
        """Use only smaller blocks, after a block of `size` samples did not fit the memory."""
        self._trials = [trial for trial in self._trials if trial < size]
        self._seconds = {tried: seconds for tried, seconds in self._seconds.items() if tried < size}
        if not self._trials:
            self._keep(min(self._seconds, key=self._seconds.__getitem__, default=max(1, size // 2)))

    def _keep(self, size: int) -> None:
        self._size = _chosen[self._situation] = size


def _situation(model: LatentModel, images: int) -> Hashable:
    """Everything that the fastest size depends on."""
    kinds = tuple(type(part) for part in model.modules())
    shapes = tuple(parameter.shape for parameter in model.parameters())
    precision = (model.dtype, getattr(model, "precision", None))
    return kinds, shapes, model.spec.shape, precision, images, model.device, torch.get_num_threads()


def now(device: torch.device) -> float:
    """time.perf_counter after the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
