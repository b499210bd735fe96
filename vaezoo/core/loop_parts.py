"""What the loops that numba compiles are made of. Needs numba."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from llvmlite import binding, ir
from numba import cfunc, float32, int32, int64, types, uint64
from numba.extending import intrinsic

LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8
"""The numbers of float32 in a vector, which the processor adds at once."""
FLOAT, INT, LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
_SOURCES = sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()[:16]
CONTRACT = ("contract",)
"""A product may be added without a rounding in between."""
_NOTHING, _ALL_FIRST = ir.Constant(VECTOR, ir.Undefined), ir.Constant(ir.VectorType(INT, LANES), [0] * LANES)


def memory(builder: Any, address: Any, kind: Any, offset: int = 0) -> Any:
    """The memory so many bytes after an address. It may lie anywhere."""
    return builder.inttoptr(builder.add(address, LONG(offset)), kind.as_pointer())


def loaded(builder: Any, address: Any, kind: Any, offset: int = 0) -> Any:
    """What is in memory so many bytes after an address."""
    return builder.load(memory(builder, address, kind, offset), align=4)


def everywhere(builder: Any, number: Any) -> Any:
    """The vector of which each number is this one."""
    return builder.shuffle_vector(builder.insert_element(_NOTHING, number, INT(0)), _NOTHING, _ALL_FIRST)


def added_product(builder: Any, total: Any, one: Any, other: Any) -> Any:
    """total + one other."""
    return builder.fadd(total, builder.fmul(one, other, flags=CONTRACT), flags=CONTRACT)


def repeated(builder: Any, times: Any, begin: list[Any], turn: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """What so many turns of a loop make of values. turn: the number of the turn and the values -> the next values."""
    before = builder.block
    head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    number, *values = phis = [builder.phi(each.type) for each in (times, *begin)]
    builder.cbranch(builder.icmp_signed("<", number, times), body, end)
    builder.position_at_end(body)
    later = [builder.add(number, LONG(1)), *turn(number, values)]
    for phi, first, next_ in zip(phis, [LONG(0), *begin], later, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(next_, builder.block)
    builder.branch(head)
    builder.position_at_end(end)
    return values


def _at(kind: Any, stored: ir.Type) -> Any:
    """The function address -> the memory of numbers of one kind there, as `carray` takes it."""

    @intrinsic
    def at(typing, address):
        """The memory at an address."""
        return types.CPointer(kind)(int64), lambda _, builder, __, given: builder.inttoptr(
            given[0], stored.as_pointer()
        )

    return at


floats_at = _at(float32, FLOAT)
ints_at = _at(int32, INT)
words_at = _at(uint64, LONG)
longs_at = _at(int64, LONG)


@intrinsic
def fused(typing, one, other, added):
    """one other + added, rounded once."""
    return float32(float32, float32, float32), lambda _, builder, __, given: builder.fma(*given)


@intrinsic
def count_up(typing, place):
    """The whole number at a place, to which 1 is added there. No other thread gets the same one."""
    one = ir.Constant(LONG, 1)
    return int64(types.CPointer(int64)), lambda _, builder, __, given: builder.atomic_rmw(
        "add", given[0], one, "monotonic"
    )


def in_c(function: Callable[..., None]) -> Any:
    """A function of an array of whole numbers, compiled for callers in C and kept on disk. Where that fails, it is
    compiled all the same: numba may write no folder, or what it has kept is damaged.

    numba compiles anew where the function's own file has changed; the name tells it of those that it is made of.
    """
    signature = types.void(types.CPointer(int64))
    function.__qualname__ = f"{function.__qualname__}_{_SOURCES}"
    try:
        return cfunc(signature, cache=True)(function)
    except Exception:
        return cfunc(signature)(function)
