"""Box and Muller's normal numbers of random words, in float32, in one loop that numba compiles. Needs numba.

Sine and cosine are polynomials that agree with them at Chebyshev nodes, which leaves errors below the rounding of
float32. The angle is reduced to an eighth of a turn in whole numbers, without a rounding.
"""

import numpy as np
from numba import carray, float32, int32, int64, njit
from numba.extending import intrinsic

from vaezoo.core._elementary import coefficients, logarithm, ratio
from vaezoo.core.loop_parts import count_up, floats_at, in_c, longs_at
from vaezoo.core.variates import PIECE

_EIGHTH = np.pi / 4
_SINE = coefficients(lambda s: ratio(np.sin(np.sqrt(s)), np.sqrt(s), 1.0), 3, 0, _EIGHTH**2)
_COSINE = coefficients(lambda s: np.cos(np.sqrt(s)), 4, 0, _EIGHTH**2)
_HALF = np.float32(0.5)
_STEP = np.float32(2 * np.pi / 2**24)


@intrinsic
def _log(typing, number):
    """The logarithm of a number above 0 that is not denormal."""
    return float32(float32), lambda _, builder, __, given: logarithm(builder, given[0])


@njit(fastmath={"contract"})
def _pairs(words, ones, others):
    """radius cos(angle) and radius sin(angle), of words of 40 bits of radius and 24 of angle. [N] each"""
    for place in range(len(words)):
        word = words[place]
        high = (word >> int64(24)) & int64((1 << 40) - 1)
        radius = np.sqrt(float32(-2) * _log((float32(high) + _HALF) * float32(2.0**-40)))
        turn = int32(word & int64((1 << 24) - 1))
        quarter = (turn + int32(1 << 21)) >> int32(22)  # the nearest one, of 0 to 4
        angle = float32(turn - (quarter << int32(22))) * _STEP
        square = angle * angle
        sine = angle * (_SINE[0] + square * (_SINE[1] + square * (_SINE[2] + square * _SINE[3])))
        cosine = _COSINE[0] + square * (
            _COSINE[1] + square * (_COSINE[2] + square * (_COSINE[3] + square * _COSINE[4]))
        )
        odd = (quarter & int32(1)) == int32(1)
        along, across = (sine, cosine) if odd else (cosine, sine)
        ones[place] = radius * (-along if (quarter + int32(1)) & int32(2) else along)
        others[place] = radius * (-across if quarter & int32(2) else across)


@in_c
def rows(numbers):
    """Pieces of the words, until none is left.

    numbers: 0, where the pieces are counted; the addresses of the words [R, W], of the normal numbers [R, 2 W], of
    which the first half of a row is radius cos(angle) and the second radius sin(angle), and of memory [2, PIECE] for
    each piece; R, W, and the number of pieces.
    """
    given = carray(numbers, (7,))
    count, length, pieces = given[4], given[5], given[6]
    words, normals = carray(longs_at(given[1]), (count * length,)), carray(floats_at(given[2]), (count, 2, length))
    piece = count_up(numbers)  # type: ignore[var-annotated]
    while piece < pieces:
        own = carray(floats_at(given[3] + 8 * PIECE * piece), (2, PIECE))
        place, last = piece * len(words) // pieces, (piece + 1) * len(words) // pieces
        while place < last:
            some = min(PIECE, last - place)
            _pairs(words[place : place + some], own[0], own[1])
            done = 0
            while done < some:  # the numbers of a row, or those of it that there are
                row, begin = (place + done) // length, (place + done) % length
                next_ = min(some - done, length - begin)
                for each in range(next_):
                    normals[row, 0, begin + each] = own[0, done + each]
                    normals[row, 1, begin + each] = own[1, done + each]
                done += next_
            place += some
        piece = count_up(numbers)
