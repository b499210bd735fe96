"""Training images that stay where they are: in a file that is mapped into memory, or in memory beside a smaller device.

The next steps' images are asked for while a step computes, so that the step itself finds them.
"""

import ctypes
import mmap
from typing import Any

import torch
from torch import Tensor

from vaezoo.core.data import Split

LARGE = 2**30
"""Bytes of images from which on the system is told which ones come next."""
SHARE = 0.5
"""The share of a device's free memory that images may take there."""
AHEAD = 8
"""Steps that the system reads ahead."""
RANDOM, NEEDED = getattr(mmap, "MADV_RANDOM", 1), getattr(mmap, "MADV_WILLNEED", 3)
"""Advice: do not read the neighbours of what is asked for; read this now."""


def on_device(split: Split, device: torch.device) -> Split:
    """The split on the device. Images that would take more than SHARE of its free memory stay where they are."""
    if device.type != "cuda" or split.x.nbytes <= SHARE * torch.cuda.mem_get_info(device)[0]:
        return split.to(device)
    rest = Split(split.x[:0], split.y, split.spec, split.dynamic, split.context).to(device)
    return Split(split.x, rest.y, split.spec, split.dynamic, rest.context)


class ReadAhead:
    """Tells the system which images of a mapped file the next steps read. It reads them while others are computed.

    Where the file is in memory already, or there is no file, nothing changes. Images are read in any order, so the
    system is also told not to read their neighbours.
    """

    def __init__(self, x: Tensor):
        self._start, self._row = x.data_ptr(), x[0].nbytes
        large = x.nbytes >= LARGE and x.is_contiguous() and x.device.type == "cpu"
        self._advise = _madvise() if large else None
        self._say(self._start, x.nbytes, RANDOM)

    @property
    def active(self) -> bool:
        """Whether the system is told."""
        return self._advise is not None

    def ask(self, rows: Tensor) -> None:
        """Ask for these images; it does not wait for them. rows: int64 [B], on the CPU."""
        if self._advise is not None:
            for row in rows.tolist():
                self._say(self._start + row * self._row, self._row, NEEDED)

    def _say(self, address: int, size: int, advice: int) -> None:
        if self._advise is not None:
            first = address - address % mmap.PAGESIZE
            self._advise(first, address + size - first, advice)


def _madvise() -> Any:
    """The system's function (address, bytes, advice), or None where there is none."""
    if not hasattr(mmap, "MADV_WILLNEED"):
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


class ImageStream:
    """The stored images of each step, on the device where the step computes.

    Where the images are on that device, the step gathers them itself; else `load` copies those of a step into one
    tensor, which the step reads. staged: whether it is so on one device too, for a test.
    """

    def __init__(self, x: Tensor, order: Tensor, device: torch.device, staged: bool = False):
        self.x, self.device = x, device
        self.staged = staged or x.device.type != device.type
        self.ahead = ReadAhead(x)
        self._active = self.staged or self.ahead.active
        self._order = torch.empty(0)
        if self.staged:
            shape, cuda = (*order.shape[1:], *x.shape[1:]), device.type == "cuda"
            self.images = torch.empty(shape, dtype=x.dtype, device=device)
            self._buffers = [torch.empty(shape, dtype=x.dtype, pin_memory=cuda) for _ in range(2)]
            self._copied = [torch.cuda.Event() for _ in range(2 * cuda)]

    def start_epoch(self, order: Tensor) -> None:
        """Begin an epoch with this order of the images, [steps, ...], and load those of its first step."""
        if self._active:
            self._order = order.to("cpu")
            for step in range(min(AHEAD, len(self._order))):
                self.ahead.ask(self._order[step].reshape(-1))
            self.load(0)

    def load(self, step: int) -> None:
        """Make the images of this step ready, after those of the step before were read; ask for those of later ones."""
        if not self._active or step >= len(self._order):
            return
        if step + AHEAD < len(self._order):
            self.ahead.ask(self._order[step + AHEAD].reshape(-1))
        if not self.staged:
            return
        buffer, copied = self._buffers[step % 2], self._copied[step % 2] if self._copied else None
        if copied is not None:
            copied.synchronize()
        torch.index_select(self.x, 0, self._order[step].reshape(-1), out=buffer.view(-1, *self.x.shape[1:]))
        self.images.copy_(buffer, non_blocking=True)
        if copied is not None:
            copied.record(torch.cuda.current_stream(self.device))
