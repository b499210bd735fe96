"""The passes of `vaezoo.core.passes` in one loop that numba compiles. Needs numba.

Each number is computed by itself, so none depends on how the work is shared.
"""

import numpy as np
from numba import carray, float32, int64, njit
from numba.extending import intrinsic

from vaezoo.core._elementary import exponential
from vaezoo.core.loop_parts import count_up, floats_at, fused, in_c
from vaezoo.core.passes import BOUNDED, BOUNDED_BACK, KL, LOG_STD_AS_GIVEN, PLACED, PLACED_BACK

PIECE = 2**12
"""About how many numbers a thread takes at a time."""
_ZERO, _HALF, _ONE, _TWO = (np.float32(number) for number in (0, 0.5, 1, 2))
_MOST, _LEAST = np.float32(88.72283), np.float32(-87)
_LIMIT = np.float32(LOG_STD_AS_GIVEN)


@intrinsic
def _exponential(typing, x):
    """e^x for x in [-87, 88.72]."""
    return float32(float32), lambda _, builder, __, given: exponential(builder, given[0])


@njit(inline="always")
def _exp(x):
    """e^x: infinite where it is too large for float32, e^-87 where it is less, and NaN for NaN."""
    bounded = min(max(x, _LEAST), _MOST)
    return _exponential(bounded) if x <= _MOST else x * np.float32(np.inf)


@njit(error_model="numpy")
def _bounded(raw, log_std):
    """`bounded_log_std`. [N] each."""
    for place in range(len(raw)):
        middle = min(max(raw[place], -_LIMIT), _LIMIT)
        rest = raw[place] - middle
        log_std[place] = middle + rest / (_ONE + abs(rest))


@njit(error_model="numpy")
def _bounded_back(grad, raw, by_raw):
    """The gradient times the slope of the bound, 1 / (1 + t)^2. [N] each."""
    for place in range(len(raw)):
        more = _ONE + abs(raw[place] - min(max(raw[place], -_LIMIT), _LIMIT))
        by_raw[place] = grad[place] / (more * more)


@njit
def _placed(mean, log_std, eps, z):
    """mean + e^log_std eps. [N] each."""
    for place in range(len(z)):
        z[place] = fused(_exp(log_std[place]), eps[place], mean[place])


@njit
def _placed_back(grad, eps, by_mean, by_log_std):
    """Adds the gradients of one sample, but for the factor e^log_std of the second. [N] each."""
    for place in range(len(grad)):
        by_mean[place] += grad[place]
        by_log_std[place] = fused(grad[place], eps[place], by_log_std[place])


@njit
def _scaled(log_std, by_log_std):
    """Multiplies by e^log_std. [N] each."""
    for place in range(len(log_std)):
        by_log_std[place] *= _exp(log_std[place])


@njit
def _kl(mean, log_std, kl):
    """0.5 (mean^2 + e^(2 log_std) - 1) - log_std. [N] each."""
    for place in range(len(kl)):
        kl[place] = fused(_HALF, fused(mean[place], mean[place], _exp(_TWO * log_std[place]) - _ONE), -log_std[place])


@njit
def _kl_back(grad, mean, log_std, by_mean, by_log_std):
    """The gradient times mean, and times e^(2 log_std) - 1. [N] each."""
    for place in range(len(grad)):
        by_mean[place] = grad[place] * mean[place]
        by_log_std[place] = grad[place] * (_exp(_TWO * log_std[place]) - _ONE)


@njit(inline="always")
def _from(address, at, some):
    """So many numbers, from number `at` after an address on."""
    return carray(floats_at(address + 4 * at), (some,))


@in_c
def rows(numbers):
    """Pieces of a pass, until none is left.

    numbers: 0, where the pieces are counted; which pass it is; the addresses of its tensors, as the names of passes in
    `vaezoo.core.passes` say; the rows R, the numbers N of a row, and the K rows that share one.
    """
    given = carray(numbers, (10,))
    which, one, two, three, four, five = given[1], given[2], given[3], given[4], given[5], given[6]
    count, size, share = given[7], given[8], given[9]
    parts, together = (size + PIECE - 1) // PIECE, max(int64(1), PIECE // size)
    pieces = (count + together - 1) // together * parts
    piece = count_up(numbers)  # type: ignore[var-annotated]
    while piece < pieces:
        begin = piece % parts * PIECE
        some = min(size - begin, int64(PIECE))
        for row in range(piece // parts * together, min((piece // parts + 1) * together, count)):
            at, both = row * size + begin, 2 * row * size + begin
            if which == BOUNDED:
                _from(two, at, some)[:] = _from(one, both, some)
                _bounded(_from(one, both + size, some), _from(three, at, some))
            elif which == BOUNDED_BACK:
                _from(four, both, some)[:] = _from(one, at, some)
                _bounded_back(_from(two, at, some), _from(three, both + size, some), _from(four, both + size, some))
            elif which == PLACED:
                own = row // share * size + begin
                _placed(_from(one, own, some), _from(two, own, some), _from(three, at, some), _from(four, at, some))
            elif which == PLACED_BACK:
                by_mean, by_log_std = _from(four, at, some), _from(five, at, some)
                by_mean[:] = _ZERO
                by_log_std[:] = _ZERO
                for sample in range(row * share, (row + 1) * share):
                    own = sample * size + begin
                    _placed_back(_from(one, own, some), _from(three, own, some), by_mean, by_log_std)
                _scaled(_from(two, at, some), by_log_std)
            elif which == KL:
                _kl(_from(one, at, some), _from(two, at, some), _from(three, at, some))
            else:
                mean, log_std = _from(two, at, some), _from(three, at, some)
                _kl_back(_from(one, at, some), mean, log_std, _from(four, at, some), _from(five, at, some))
        piece = count_up(numbers)
