"""What the loops that numba compiles are made of. Needs numba."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import cfunc, float32, int32, int64, types, uint64
from numba.extending import intrinsic


def _at(kind: Any, stored: ir.Type) -> Any:
    """The function address -> the memory of numbers of one kind there, as `carray` takes it."""

    @intrinsic
    def at(typing, address):
        """The memory at an address."""
        return types.CPointer(kind)(int64), lambda _, builder, __, given: builder.inttoptr(
            given[0], stored.as_pointer()
        )

    return at


floats_at = _at(float32, ir.FloatType())
ints_at = _at(int32, ir.IntType(32))
words_at = _at(uint64, ir.IntType(64))


@intrinsic
def count_up(typing, place):
    """The whole number at a place, to which 1 is added there. No other thread gets the same one."""
    one = ir.Constant(ir.IntType(64), 1)
    return int64(types.CPointer(int64)), lambda _, builder, __, given: builder.atomic_rmw(
        "add", given[0], one, "monotonic"
    )


def in_c(function: Callable[..., None]) -> Any:
    """A function of an array of whole numbers, compiled for callers in C and kept on disk. Where that fails, it is
    compiled all the same: numba may write no folder, or what it has kept is damaged.
    """
    signature = types.void(types.CPointer(int64))
    try:
        return cfunc(signature, cache=True)(function)
    except Exception:
        return cfunc(signature)(function)
