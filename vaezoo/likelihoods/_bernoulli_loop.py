"""The Bernoulli likelihood of a row of logits and its derivative, in one loop that numba compiles. Needs numba.

In float32. e^-a = 2^n e^f with n whole and f in [0, log 2), where e^f is a polynomial; log(1 + e) / e is one too. Both
are interpolated at Chebyshev nodes, which leaves errors below the rounding of float32.
"""

import numpy as np
from llvmlite import ir
from numba import carray, float32, int32, njit
from numba.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial

from vaezoo.core.loop_parts import count_up, floats_at, in_c

FAST = {"reassoc", "contract", "nsz"}
"""Sums may be taken in another order, so that a processor adds several numbers at once."""
ROWS = 16
"""The rows that a thread takes at a time."""


def _coefficients(function, degree, end):
    """Of the polynomial that agrees with a function at the Chebyshev nodes of [0, end], the constant first."""
    found = Chebyshev.interpolate(function, degree, domain=[0, end]).convert(kind=Polynomial).coef
    return tuple(np.float32(each) for each in found)


_P = _coefficients(np.exp, 6, np.log(2))
_Q = _coefficients(lambda e: np.log1p(e) / e, 9, 1)
_ZERO, _ONE, _MOST = np.float32(0), np.float32(1), np.float32(87)
_LOG2_E = np.float32(np.log2(np.e))
_LN2_HIGH = np.float32(0.693359375)  # whole multiples of it up to 126 are exact
_LN2_LOW = np.float32(np.log(2) - 0.693359375)


@intrinsic
def _as_float(typing, bits):
    """The float32 that has these bits."""
    return float32(int32), lambda _, builder, __, given: builder.bitcast(given[0], ir.FloatType())


@njit(fastmath={"contract"})
def _exp_minus(a):
    """e^-a for a >= 0; e^-87 where it is less, near the least float32 that is not denormal."""
    a = min(a, _MOST)
    n = np.floor(-a * _LOG2_E)
    f = (-a - n * _LN2_HIGH) - n * _LN2_LOW
    power = _P[0] + f * (_P[1] + f * (_P[2] + f * (_P[3] + f * (_P[4] + f * (_P[5] + f * _P[6])))))
    return power * _as_float((int32(n) + int32(127)) << int32(23))


@njit(inline="always", fastmath=FAST)
def _log1p(e):
    """log(1 + e) for e in [0, 1]."""
    high = _Q[5] + e * (_Q[6] + e * (_Q[7] + e * (_Q[8] + e * _Q[9])))
    return e * (_Q[0] + e * (_Q[1] + e * (_Q[2] + e * (_Q[3] + e * (_Q[4] + e * high)))))


@njit(inline="always", fastmath=FAST)
def _term(x, logit, e):
    """x l - log(1 + e^l) with e = e^-|l|. x l - max(l, 0) is 0 or -|l| where x is 0 or 1, without a rounding."""
    return (x - (_ONE if logit > _ZERO else _ZERO)) * logit - _log1p(e)


@njit(fastmath=FAST)
def _value(x, logits):
    """The sum of `_term`. [P], [P] -> a number"""
    total = _ZERO
    for pixel in range(len(logits)):
        total += _term(x[pixel], logits[pixel], _exp_minus(abs(logits[pixel])))
    return total


@njit(fastmath=FAST, error_model="numpy")
def _value_and_slope(x, logits, slope):
    """`_value`, and x - sigmoid(l) into slope. [P], [P], [P] -> a number"""
    total = _ZERO
    for pixel in range(len(logits)):
        logit = logits[pixel]
        e = _exp_minus(abs(logit))
        total += _term(x[pixel], logit, e)
        slope[pixel] = x[pixel] - (_ONE if logit >= _ZERO else e) / (_ONE + e)
    return total


@in_c
def rows(numbers):
    """Pieces of rows of logits, until none is left.

    numbers: 0, where the pieces are counted; the addresses of x [G, B, P], logits [G, K, B, P], values [G, K, B], and
    slopes [G, K, B, P] or 0; the number of rows G K B, of rows a group K B (G K B where all groups have the same
    images), of images B, and of pixels P.
    """
    given = carray(numbers, (9,))
    count, group, images, pixels = given[5], given[6], given[7], given[8]
    x = carray(floats_at(given[1]), (count // group * images, pixels))
    logits = carray(floats_at(given[2]), (count, pixels))
    values = carray(floats_at(given[3]), (count,))
    slopes = carray(floats_at(given[4]), (count, pixels))
    first = count_up(numbers) * ROWS
    while first < count:
        for row in range(first, min(first + ROWS, count)):
            image = x[row // group * images + row % images]
            if given[4]:
                values[row] = _value_and_slope(image, logits[row], slopes[row])
            else:
                values[row] = _value(image, logits[row])
        first = count_up(numbers) * ROWS
