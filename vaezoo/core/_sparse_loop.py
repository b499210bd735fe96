"""Products of matrices of which one is mostly 0, in one loop that numba compiles. Needs numba.

For each row of the result there is a list of the places that are not 0; the rows of the other factor at these places
are weighted and added, in the order of the list, so the numbers do not depend on how the work is shared.
"""

from numba import carray, int64, njit, types
from numba.extending import intrinsic

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
    ints_at,
    loaded,
    memory,
    repeated,
)
from vaezoo.core.sparse_product import COLUMNS


def _weighted_sum(vectors):
    """A function that computes so many vectors of a row of a product. Their sums stay in registers."""
    offsets = range(0, 4 * LANES * vectors, 4 * LANES)

    @intrinsic
    def weighted_sum(typing, into, start, rows, stride, places, count, weights, weight_stride):
        """into[:] = start[:] + sum of weights[p] rows[p][:] over the places p of a list. Addresses; strides: bytes."""

        def generate(context, builder, signature, arguments):
            """A loop over the list."""
            into, start, rows, stride, places, count, weights, weight_stride = arguments

            def added(number, sums):
                """The row at the next place of the list, weighted, on the sums."""
                listed = loaded(builder, builder.add(places, builder.mul(number, LONG(4))), INT)
                place = builder.sext(listed, LONG)
                weight = loaded(builder, builder.add(weights, builder.mul(place, weight_stride)), FLOAT)
                row, factor = builder.add(rows, builder.mul(place, stride)), everywhere(builder, weight)
                return [
                    added_product(builder, total, factor, loaded(builder, row, VECTOR, offset))
                    for total, offset in zip(sums, offsets, strict=True)
                ]

            first = [loaded(builder, start, VECTOR, offset) for offset in offsets]
            for total, offset in zip(repeated(builder, count, first, added), offsets, strict=True):
                builder.store(total, memory(builder, into, VECTOR, offset), align=4)
            return context.get_dummy_value()

        return types.void(*[int64] * 8), generate

    return weighted_sum


_sum_of_8, _sum_of_4, _sum_of_2 = (_weighted_sum(vectors) for vectors in (8, 4, 2))


@njit
def _tile(left, outputs, vectors):
    """The vectors of the next tile, so many or fewer, where so many of a row's numbers are left."""
    while vectors > 2 and (vectors * LANES > outputs or vectors * LANES >= 2 * left):
        vectors //= 2
    return vectors


@njit
def _list(numbers, places):
    """The places of the numbers that are not 0 -> how many they are. Without a branch, which would be mispredicted."""
    count = 0
    for place, number in enumerate(numbers):
        places[count] = place
        count += number != 0
    return count


@njit
def _multiply(x, lists, counts, factor, start, product, first, widest):
    """Some rows of x times a factor, from number `first` on, tile by tile of their numbers. The last tile may make some
    of those before it again.

    x: [R, P], in any layout. lists, counts: the places in these rows, [r, P], [r]. factor: [P, out or more]. start:
    what the sums begin with, [out]. product: [R, out]. widest: the vectors of the widest tile, 8 or 4.
    """
    outputs, tile = product.shape[1], 0
    down, right = factor.strides[0], x.strides[1]
    while tile < outputs:
        vectors = _tile(outputs - tile, outputs, widest)
        tile = min(tile, outputs - vectors * LANES)
        begin, rows = start[tile:].ctypes.data, factor[:, tile:].ctypes.data
        for number, count in enumerate(counts):
            into, listed = product[first + number, tile:].ctypes.data, lists[number].ctypes.data
            weights = x[first + number].ctypes.data
            if vectors == 8:
                _sum_of_8(into, begin, rows, down, listed, count, weights, right)
            elif vectors == 4:
                _sum_of_4(into, begin, rows, down, listed, count, weights, right)
            else:
                _sum_of_2(into, begin, rows, down, listed, count, weights, right)
        tile += vectors * LANES


@in_c
def rows(numbers):
    """Pieces of the rows of a product, until none is left: of x W^T + b, or of x^T g.

    numbers: 0, where the pieces are counted; the addresses of x [B, in], of W^T [in, out] or g [B, out or more], of b
    or zeros [out], of the product [B, out] or [in, out], and of lists and their lengths, [B, in] and [B], or of those
    of each piece, [COLUMNS, B] and [COLUMNS]; B, in, out, and the length of a row of the second factor; the number of
    pieces; whether it is x^T g.
    """
    given = carray(numbers, (13,))
    images, inputs, outputs, pieces, by_weight = given[7], given[8], given[9], given[11], given[12]
    x, start = carray(floats_at(given[1]), (images, inputs)), carray(floats_at(given[3]), (outputs,))
    factor = carray(floats_at(given[2]), (images if by_weight else inputs, given[10]))
    product = carray(floats_at(given[4]), (inputs if by_weight else images, outputs))
    piece = count_up(numbers)  # type: ignore[var-annotated]
    while piece < pieces:
        first, last = piece * len(product) // pieces, (piece + 1) * len(product) // pieces
        if by_weight:
            lists = carray(ints_at(given[5]), (pieces, COLUMNS, images))[piece]
            counts = carray(ints_at(given[6]), (pieces, COLUMNS))[piece]
            for column in range(first, last, COLUMNS):
                columns = min(COLUMNS, last - column)
                for each in range(columns):
                    counts[each] = _list(x[:, column + each], lists[each])
                _multiply(x.T, lists, counts[:columns], factor, start, product, column, 8)
        else:
            lists = carray(ints_at(given[5]), (images, inputs))[first:last]
            counts = carray(ints_at(given[6]), (images,))[first:last]
            for row in range(last - first):
                counts[row] = _list(x[first + row], lists[row])
            _multiply(x, lists, counts, factor, start, product, first, 4)
        piece = count_up(numbers)
