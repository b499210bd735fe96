"""A step of Adam in one loop that numba compiles. Needs numba.

It passes once over parameters, gradients and moments, with the roundings of torch's fused operator on processors that
multiply and add at once. Each number is computed by itself, so none depends on how the work is shared.
"""

import numpy as np
from numba import carray, njit

from vaezoo.core.loop_parts import count_up, floats_at, fused, in_c, longs_at

PIECE = 2**14
"""The numbers of a tensor that a thread takes at a time."""


@njit(error_model="numpy")
def _step(p, gradient, mean, square, factors):
    """One step of some numbers. [N] each; factors: `vaezoo.training.adam.factors`."""
    rest, decay, share = factors[0], factors[1], factors[2]
    step, root, epsilon = factors[3], factors[4], factors[5]
    for number in range(len(p)):
        slope = gradient[number]
        m = fused(rest, slope - mean[number], mean[number])  # type: ignore[var-annotated]
        v = fused(share * slope, slope, decay * square[number])
        mean[number], square[number] = m, v
        p[number] -= step * m / (np.sqrt(v) / root + epsilon)


@in_c
def rows(numbers):
    """Pieces of tensors, until none is left.

    numbers: 0, where the pieces are counted; the address of six numbers for each tensor (the addresses of parameters,
    gradients, means and squares, how many each has, and the address of the factors); and the number of tensors.
    """
    given = carray(numbers, (3,))
    tensors = carray(longs_at(given[1]), (given[2], 6))
    tensor, before = 0, 0  # the pieces of earlier tensors
    piece = count_up(numbers)  # type: ignore[var-annotated]
    while tensor < given[2]:
        size = tensors[tensor, 4]
        first = (piece - before) * PIECE
        if first < size:
            left, own = (min(PIECE, size - first),), tensors[tensor] + 4 * first
            p, gradient = carray(floats_at(own[0]), left), carray(floats_at(own[1]), left)
            mean, square = carray(floats_at(own[2]), left), carray(floats_at(own[3]), left)
            _step(p, gradient, mean, square, carray(floats_at(tensors[tensor, 5]), (6,)))
            piece = count_up(numbers)
        else:
            before += (size + PIECE - 1) // PIECE
            tensor += 1
