"""The Bernoulli likelihood of a row of logits and its derivative, in one loop that numba compiles. Needs numba.

In float32, vector by vector. Each place of a vector has its own sum, of x l - max(l, 0), and its own product, of the
numbers 1 + e^-|l|, of which the logarithm is taken once at the end. The product is kept as 2^n (1 + r), so that no
small e^-|l| is lost beside the 1.
"""

import numpy as np
from llvmlite import ir
from numba import carray, float32, int64
from numba.extending import intrinsic

from vaezoo.core._elementary import coefficients, constant, exponential, polynomial, ratio
from vaezoo.core.loop_parts import (
    CONTRACT,
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

TOGETHER = 8
"""The vectors whose 1 + e^-|l| are multiplied before the power of 2 is taken off the product."""
ROWS = 16
"""The rows that a thread takes at a time."""
_WIDTH = 4 * LANES
_LOG1P = coefficients(lambda e: ratio(np.log1p(e), e, 1.0), 9, 0, 1)
_PLACES = ir.Constant(VECTOR, [float(place) for place in range(LANES)])
_ZERO, _ONE, _MOST, _LN2 = (constant(VECTOR, number) for number in (0.0, 1.0, 87.0, float(np.float32(np.log(2)))))


def _vector(builder, x, logits, slopes, at):
    """Of the pixels so many bytes from the first: e = e^-|l| and x l - max(l, 0), and x - sigmoid(l) into slopes, if
    there are any.
    """
    pixels, logit = (loaded(builder, builder.add(each, at), VECTOR) for each in (x, logits))
    positive = builder.fcmp_ordered(">", logit, _ZERO)
    step = builder.select(positive, _ONE, _ZERO)
    size = builder.select(positive, logit, builder.fneg(logit))
    e = exponential(builder, builder.fneg(builder.select(builder.fcmp_ordered("<", size, _MOST), size, _MOST)))
    if slopes is not None:
        sigmoid = builder.fdiv(builder.select(positive, _ONE, e), builder.fadd(_ONE, e))
        slope = builder.select(builder.fcmp_unordered("uno", logit, logit), logit, builder.fsub(pixels, sigmoid))
        builder.store(slope, memory(builder, builder.add(slopes, at), VECTOR), align=4)
    return e, builder.fmul(builder.fsub(pixels, step), logit, flags=CONTRACT)  # 0 or -|l|, not rounded, for 0 and 1


def _multiplied(builder, one, other):
    """(1 + one)(1 + other) - 1, as exact for small numbers as for others."""
    return builder.fadd(one, added_product(builder, other, one, other))


def _normalised(builder, rest, exponent):
    """2^exponent (1 + rest), for a rest below 2^100, so that it is in [0, 1)."""
    whole = exponent.type
    bits = builder.bitcast(builder.fadd(_ONE, rest), whole)
    more = builder.sub(builder.lshr(bits, constant(whole, 23)), constant(whole, 127))
    mantissa = builder.or_(builder.and_(bits, constant(whole, 2**23 - 1)), constant(whole, 127 << 23))
    less = builder.fsub(builder.bitcast(mantissa, VECTOR), _ONE)
    small = builder.icmp_signed("==", more, constant(whole, 0))
    return builder.select(small, rest, less), builder.add(exponent, more)


def _summed(builder, vector):
    """The sum of a vector's numbers, two and two."""
    numbers = [builder.extract_element(vector, INT(place)) for place in range(LANES)]
    while len(numbers) > 1:
        numbers = [builder.fadd(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
    return numbers[0]


def _row(with_slopes):
    """The function that computes the likelihood of a row, in nats, and with_slopes stores its derivatives too."""

    @intrinsic
    def row(typing, x, logits, slopes, pixels):
        """The sum of x l - max(l, 0) - log(1 + e^-|l|) over LANES pixels or more. x, logits, slopes: addresses; at that
        of the slopes it stores x - sigmoid(l).

        The last vector may begin among the pixels of the one before it, which it does not take again.
        """

        def generate(context, builder, signature, arguments):
            """A loop over TOGETHER vectors at a time, and one over the vectors that are left."""
            x, logits, slopes, pixels = arguments
            slopes = slopes if with_slopes else None

            def together(number, carried):
                """The next vectors."""
                total, rest, exponent = carried
                product, begin = None, builder.mul(number, LONG(TOGETHER * _WIDTH))
                for vector in range(TOGETHER):
                    at = builder.add(begin, LONG(vector * _WIDTH))
                    own, linear = _vector(builder, x, logits, slopes, at)
                    product = own if product is None else _multiplied(builder, product, own)
                    total = builder.fadd(total, linear, flags=CONTRACT)
                return [total, *_normalised(builder, _multiplied(builder, rest, product), exponent)]

            def single(number, carried):
                """The next vector, or the last one."""
                total, rest, exponent = carried
                begin = builder.add(done, builder.mul(number, LONG(LANES)))
                last = builder.sub(pixels, LONG(LANES))
                own = builder.select(builder.icmp_signed("<", begin, last), begin, last)
                e, linear = _vector(builder, x, logits, slopes, builder.mul(own, LONG(4)))
                skipped = everywhere(builder, builder.sitofp(builder.sub(begin, own), FLOAT))
                taken = builder.fcmp_ordered(">=", _PLACES, skipped)
                e, linear = builder.select(taken, e, _ZERO), builder.select(taken, linear, _ZERO)
                return [builder.fadd(total, linear), *_normalised(builder, _multiplied(builder, rest, e), exponent)]

            blocks = builder.sdiv(pixels, LONG(TOGETHER * LANES))
            done = builder.mul(blocks, LONG(TOGETHER * LANES))
            left = builder.sdiv(builder.add(builder.sub(pixels, done), LONG(LANES - 1)), LONG(LANES))
            nothing = [_ZERO, _ZERO, ir.Constant(ir.VectorType(INT, LANES), [0] * LANES)]
            total, rest, exponent = repeated(builder, left, repeated(builder, blocks, nothing, together), single)
            log = builder.fmul(rest, polynomial(builder, _LOG1P, rest))
            log = added_product(builder, log, builder.sitofp(exponent, VECTOR), _LN2)
            return _summed(builder, builder.fsub(total, log))

        return float32(int64, int64, int64, int64), generate

    return row


_value, _value_and_slope = _row(False), _row(True)


@in_c
def rows(numbers):
    """Pieces of rows of logits, until none is left.

    numbers: 0, where the pieces are counted; the addresses of x [G, B, P], logits [G, K, B, P], values [G, K, B], and
    slopes [G, K, B, P] or 0; the number of rows G K B, of rows a group K B (G K B where all groups have the same
    images), of images B, and of pixels P, at least LANES.
    """
    given = carray(numbers, (9,))
    count, group, images, pixels = given[5], given[6], given[7], given[8]
    values = carray(floats_at(given[3]), (count,))
    first = count_up(numbers) * ROWS
    while first < count:
        for row in range(first, min(first + ROWS, count)):
            x, at = given[1] + 4 * pixels * (row // group * images + row % images), 4 * pixels * row
            if given[4]:
                values[row] = _value_and_slope(x, given[2] + at, given[4] + at, pixels)
            else:
                values[row] = _value(x, given[2] + at, int64(0), pixels)
        first = count_up(numbers) * ROWS
