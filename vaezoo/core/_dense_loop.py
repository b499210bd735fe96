"""The product of two dense matrices, in one loop that numba compiles. Needs numba.

Each number of the product is the sum of its terms from the first to the last one, in equal parts of at most TERMS
terms, so it depends neither on the tiles nor on how the work is shared.
"""

import numpy as np
from llvmlite import ir
from numba import carray, int64, njit, types
from numba.extending import intrinsic

from vaezoo.core.dense_product import LINES, PANEL, TERMS
from vaezoo.core.loop_parts import (
    FLOAT,
    INT,
    LANES,
    LONG,
    VECTOR,
    added_product,
    count_up,
    everywhere,
    floats_at,
    in_c,
    loaded,
    memory,
    repeated,
)

ROWS, VECTORS = LANES // 2, 3
"""The rows of a tile and the most vectors of one: their sums and factors fill the registers of a processor."""
_ZEROS = np.zeros(VECTORS * LANES, np.float32)


def _tile_product(vectors):
    """A function that computes so many vectors of ROWS rows of a product. Their sums stay in registers."""
    offsets = range(0, 4 * LANES * vectors, 4 * LANES)

    @intrinsic
    def tile_product(typing, into, width, start, below, left, down, right, factor, stride, terms, relu):
        """into[r, :] = start[r, :] + sum of left[r, k] factor[k, :] over k < terms; with relu, 0 where that is less.
        Addresses; below and strides: bytes.
        """

        def generate(context, builder, signature, arguments):
            """A loop over k."""
            into, width, start, below, left, down, right, factor, stride, terms, relu = arguments
            zeros = ir.Constant(VECTOR, [0.0] * LANES)
            lefts = [builder.mul(down, LONG(row)) for row in range(ROWS)]
            starts = [builder.add(start, builder.mul(below, LONG(row))) for row in range(ROWS)]

            def added(_, values):
                """The next row of the factor, weighted, on the sums."""
                column, row, *sums = values
                others = [loaded(builder, row, VECTOR, offset) for offset in offsets]
                ones = (everywhere(builder, loaded(builder, builder.add(column, each), FLOAT)) for each in lefts)
                pairs = ((one, other) for one in ones for other in others)
                totals = [added_product(builder, total, *pair) for total, pair in zip(sums, pairs, strict=True)]
                return [builder.add(column, right), builder.add(row, stride), *totals]

            _, _, *sums = repeated(builder, terms, [left, factor, *[zeros] * (ROWS * vectors)], added)
            before = [loaded(builder, each, VECTOR, offset) for each in starts for offset in offsets]
            totals = [builder.fadd(one, other) for one, other in zip(before, sums, strict=True)]
            none = builder.icmp_signed("==", relu, LONG(0))
            least = everywhere(builder, builder.select(none, FLOAT(float("-inf")), FLOAT(0.0)))
            for number, total in enumerate(totals):
                total = builder.select(builder.fcmp_ordered("<", total, least), least, total)  # not a number stays so
                own = builder.add(into, builder.mul(width, LONG(number // vectors)))
                builder.store(total, memory(builder, own, VECTOR, offsets[number % vectors]), align=4)
            return context.get_dummy_value()

        return types.void(*[int64] * 11), generate

    return tile_product


_of_1, _of_2, _of_3 = (_tile_product(vectors) for vectors in range(1, VECTORS + 1))


@intrinsic
def _transpose(typing, into, width, rows, down):
    """into[k, :] = rows[:, k] of LANES rows and as many columns. Addresses; strides: bytes."""

    def generate(context, builder, signature, arguments):
        """In halves: the upper right one and the lower left one change places; then in quarters, down to numbers."""
        into, width, rows, down = arguments
        found = [loaded(builder, builder.add(rows, builder.mul(down, LONG(row))), VECTOR) for row in range(LANES)]
        size = LANES // 2
        while size:
            upper = [k - size + LANES if k & size else k for k in range(LANES)]
            lower = [k + LANES if k & size else k + size for k in range(LANES)]
            masks = [ir.Constant(ir.VectorType(INT, LANES), order) for order in (upper, lower)]
            for row in (row for row in range(LANES) if not row & size):
                pair = found[row], found[row + size]
                found[row], found[row + size] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            size //= 2
        for row, vector in enumerate(found):
            own = builder.add(into, builder.mul(width, LONG(row)))
            builder.store(vector, memory(builder, own, VECTOR), align=4)
        return context.get_dummy_value()

    return types.void(*[int64] * 4), generate


@njit
def _arrange(weight, down, terms, columns, panel):
    """panel[:terms, :columns] = the transpose of so many rows of a weight. weight: its address. down: bytes."""
    into, width = panel.ctypes.data, panel.strides[0]
    if terms < LANES:
        for column in range(columns):
            row = carray(floats_at(weight + column * down), (terms,))
            for term in range(terms):
                panel[term, column] = row[term]
    else:
        term = 0
        while term < terms:
            term = min(term, terms - LANES)
            for column in range(0, columns, LANES):
                _transpose(into + term * width + 4 * column, width, weight + column * down + 4 * term, down)
            term += LANES


@njit
def _tile(vectors, into, width, start, below, left, down, right, factor, stride, terms, relu):
    """A tile of so many vectors."""
    if vectors == 3:
        _of_3(into, width, start, below, left, down, right, factor, stride, terms, relu)
    elif vectors == 2:
        _of_2(into, width, start, below, left, down, right, factor, stride, terms, relu)
    else:
        _of_1(into, width, start, below, left, down, right, factor, stride, terms, relu)


@njit
def _columns(vectors, x, weight, panel, sums, start, product, width, images, terms, relu):
    """Some columns of x W^T + b, or of its ReLU: the sum of some terms in all rows, then that of the next ones.

    Up to the last terms, each tile's sums are kept in `sums`. The last tile may make some rows of the one before it
    again, from sums of its own.
    """
    (left, down, right), (factor, stride, beside) = x, weight
    kept, row_of_sums = sums.ctypes.data, sums.strides[0]
    parts = (terms + TERMS - 1) // TERMS
    for part in range(parts):
        begin, last = part * terms // parts, part + 1 == parts
        count = (part + 1) * terms // parts - begin
        other, length = factor + begin * stride, stride
        if beside != 4:
            _arrange(other, beside, count, vectors * LANES, panel)
            other, length = panel.ctypes.data, panel.strides[0]
        for first in range(0, images, ROWS):
            row, own = min(first, images - ROWS), kept + first * row_of_sums
            source, below = (own, row_of_sums) if begin else (start, 0)
            into, next_ = (product + row * width, width) if last else (own, row_of_sums)
            one = left + row * down + begin * right
            _tile(vectors, into, next_, source, below, one, down, right, other, length, count, relu and last)


@njit
def _multiply(x, weight, panel, sums, start, product, width, sizes, relu):
    """x W^T + b, or its ReLU: of some rows after others, a tile's columns after another's. The last tile may make some
    columns of the one before it again.

    x, weight: the address, and by how many bytes the next row and the next column of x and of W^T are away. start,
    product: addresses; no start is 0. width: the bytes of a row of the product. sizes: B, in, out.
    """
    (left, down, right), (factor, stride, beside), (images, terms, outputs) = x, weight, sizes
    row = 0
    while row < images:
        row = min(row, images - ROWS)
        count = min(LINES, images - row)
        column = 0
        while column < outputs:
            vectors = min(VECTORS, (outputs - column + LANES - 1) // LANES, outputs // LANES)
            column = min(column, outputs - vectors * LANES)
            _columns(
                vectors,
                (left + row * down, down, right),
                (factor + column * beside, stride, beside),
                panel,
                sums,
                start + 4 * column if start else _ZEROS.ctypes.data,
                product + row * width + 4 * column,
                width,
                count,
                terms,
                relu,
            )
            column += vectors * LANES
        row += LINES


@in_c
def rows(numbers):
    """Pieces of x W^T + b, or of its ReLU, until none is left: some of its rows, or some of its columns.

    numbers: 0, where the pieces are counted; the addresses of x [B, in], of W^T [in, out], of b [out] or 0, of the
    product [B, out], and of memory [TERMS + LINES, PANEL] for each piece; B, in, out; by how many bytes the next row
    and the next column of x, and those of W^T, are away; the number of pieces; whether they are of columns; whether it
    is the ReLU.
    """
    given = carray(numbers, (16,))
    (x, weight, start, product, memory), (images, terms, outputs), (down, right), (stride, beside) = (
        (given[1], given[2], given[3], given[4], given[5]),
        (given[6], given[7], given[8]),
        (given[9], given[10]),
        (given[11], given[12]),
    )
    pieces, by_column = given[13], given[14]
    vectors = outputs // LANES
    piece = count_up(numbers)  # type: ignore[var-annotated]
    while piece < pieces:
        top, below, first, beyond = 0, images, 0, outputs
        if by_column:
            first = piece * vectors // pieces * LANES
            if piece + 1 < pieces:
                beyond = (piece + 1) * vectors // pieces * LANES
        else:
            top, below = piece * images // pieces, (piece + 1) * images // pieces
        own = carray(floats_at(memory + 4 * piece * (TERMS + LINES) * PANEL), (TERMS + LINES, PANEL))
        _multiply(
            (x + top * down, down, right),
            (weight + first * beside, stride, beside),
            own[:TERMS],
            own[TERMS:],
            start + 4 * first if start else 0,
            product + 4 * (top * outputs + first),
            4 * outputs,
            (below - top, terms, beyond - first),
            given[15],
        )
        piece = count_up(numbers)
