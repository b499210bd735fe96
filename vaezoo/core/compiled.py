"""Loops over numbers in memory that numba compiles for this processor, run on torch's own threads.

One loop does in one pass what takes torch's operators many. Where numba is not installed, or NUMBA_DISABLE_JIT is set,
there are none, and whoever has one computes with torch's operators. numba compiles a loop once and keeps it on disk;
compiled anew for the same processor it gives the same numbers, bit for bit.
"""

import ctypes
import warnings
from array import array
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch

from vaezoo.core.errors import VaezooWarning, one_line

Loop = Callable[..., None]
"""Called with addresses and sizes; what each of them is, the loop's module says."""

_taken: set[str] = set()


def compiler() -> str | None:
    """What has compiled the loops that this process has run: "numba"; None where it has run none."""
    return "numba" if _taken else None


def loop(module: str, alone: bool = False) -> Loop | None:
    """The loop that a module names `rows`. All of torch's threads run it at the same time, until no work is left.

    alone: this thread runs it alone. None where there are no loops, or where torch has several threads but does not let
    others use them.
    """
    return _loop(module, 1 if alone else torch.get_num_threads())


@lru_cache
def _loop(module: str, threads: int) -> Loop | None:
    """The first of the numbers that the loop gets is 0; its threads count the work there that they have taken."""
    address, team = _address(module), _team()
    if address is None or (threads > 1 and team is None):
        return None
    alone = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)

    def run(*numbers: int) -> None:
        """Call the loop in this thread, or in each of torch's."""
        _taken.add(module)
        memory = array("q", (0, *numbers))
        if threads == 1:
            alone(memory.buffer_info()[0])
        else:
            team(address, memory.buffer_info()[0], threads, 0)

    return run


@lru_cache
def _address(module: str) -> int | None:
    """Where the compiled loop of a module is. None where numba is not installed or is not to compile; and, with a
    warning, where it fails.
    """
    try:
        from numba import config

        return None if config.DISABLE_JIT else int(import_module(module).rows.address)  # type: ignore[attr-defined]
    except Exception as error:  # whatever a numba does that is broken or does not know this processor
        if not (isinstance(error, ModuleNotFoundError) and error.name == "numba"):
            why = one_line(f"{type(error).__name__}: {error}")
            warnings.warn(
                f"numba cannot be used ({why}), so torch's operators compute instead of the loop of {module}; install "
                "numba anew, or set NUMBA_DISABLE_JIT=1",
                VaezooWarning,
                stacklevel=2,
            )
        return None


@lru_cache(maxsize=1)
def _team() -> Any:
    """The function of torch's OpenMP library that runs another function on all of its threads; None where that library
    has none of this name.
    """
    try:
        team = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    team.argtypes, team.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return team
