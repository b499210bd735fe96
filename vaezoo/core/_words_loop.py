"""SplitMix64's finaliser of counters, in one loop that numba compiles. Needs numba."""

import numpy as np
from numba import carray, njit

from vaezoo.core.loop_parts import count_up, in_c, words_at
from vaezoo.core.words import FIRST, SECOND

PIECE = 16
"""The rows that a thread takes at a time."""
_FIRST, _SECOND = np.uint64(FIRST % (1 << 64)), np.uint64(SECOND % (1 << 64))
_BY = np.uint64(30), np.uint64(27), np.uint64(31)


@njit
def _row(start, step, words):
    """mix(start + step) into words. [N], a number, [N]"""
    for place in range(len(words)):
        z = start[place] + step
        z = (z ^ (z >> _BY[0])) * _FIRST
        z = (z ^ (z >> _BY[1])) * _SECOND
        words[place] = z ^ (z >> _BY[2])


@in_c
def rows(numbers):
    """Pieces of rows, until none is left.

    numbers: 0, where the pieces are counted; the addresses of the first row's counters [N] and of the words [K, N]; the
    number of rows K and their length N; what a counter grows by from row to row.
    """
    given = carray(numbers, (6,))
    count, length, step = given[3], given[4], np.uint64(given[5])
    start, words = carray(words_at(given[1]), (length,)), carray(words_at(given[2]), (count, length))
    first = count_up(numbers) * PIECE
    while first < count:
        for row in range(first, min(first + PIECE, count)):
            _row(start, np.uint64(row) * step, words[row])
        first = count_up(numbers) * PIECE
