"""The exponential and the logarithm for loops that numba compiles, of a float32 or of a vector of them. Needs numba.

Both are polynomials that agree with the function at Chebyshev nodes, which leaves errors below the rounding of float32.
"""

import numpy as np
from llvmlite import ir
from numpy.polynomial import Chebyshev, Polynomial

from vaezoo.core.loop_parts import CONTRACT, INT, LANES, added_product


def coefficients(function, degree, begin, end):
    """Of the polynomial that agrees with a function at the Chebyshev nodes of an interval, the constant first."""
    found = Chebyshev.interpolate(function, degree, domain=[begin, end]).convert(kind=Polynomial).coef
    return tuple(np.float32(each) for each in found)


def ratio(value, argument, limit):
    """value / argument, and its limit where both are 0."""
    return np.divide(value, argument, out=np.full_like(argument, limit), where=argument != 0)


_LN2 = np.log(2)
_EXP = coefficients(np.exp, 6, -_LN2 / 2, _LN2 / 2)
_LEAST = np.sqrt(0.5)  # of a mantissa
_LOG = coefficients(lambda m: ratio(np.log1p(m), m, 1.0), 9, _LEAST - 1, 2 * _LEAST - 1)
_LN2_HIGH = 0.693359375  # whole multiples of it up to 126 are exact
_TO_WHOLE = 1.5 * 2**23
"""float32 numbers near it are whole, so a sum with it is rounded to a whole number, which its last bits hold."""
_LEAST_BITS = 0x3F3504F3
"""The bits of the float32 next to _LEAST."""


def constant(kind, number):
    """The number as a value of a type: a vector has it in each place."""
    return ir.Constant(kind, [number] * LANES if isinstance(kind, ir.VectorType) else number)


def _whole(kind):
    """The type of the bits of a type's numbers."""
    return ir.VectorType(INT, LANES) if isinstance(kind, ir.VectorType) else INT


def polynomial(builder, terms, x):
    """The polynomial with these coefficients at x."""
    value = constant(x.type, float(terms[-1]))
    for term in reversed(terms[:-1]):
        value = added_product(builder, constant(x.type, float(term)), value, x)
    return value


def exponential(builder, x):
    """e^x for x in [-87, 88.72]: 2^n e^f with n whole and |f| at most half of log 2."""
    kind, whole = x.type, _whole(x.type)
    shifted = added_product(builder, constant(kind, _TO_WHOLE), x, constant(kind, float(np.float32(1 / _LN2))))
    n = builder.fsub(shifted, constant(kind, _TO_WHOLE))
    f = added_product(builder, x, n, constant(kind, -_LN2_HIGH))
    f = added_product(builder, f, n, constant(kind, float(np.float32(_LN2_HIGH - _LN2))))
    power = builder.bitcast(polynomial(builder, _EXP, f), whole)
    return builder.bitcast(builder.add(power, builder.shl(builder.bitcast(shifted, whole), constant(whole, 23))), kind)


def logarithm(builder, x):
    """log x for x above 0 that is not denormal: of 2^n m with m in [0.7, 1.4]."""
    kind, whole = x.type, _whole(x.type)
    least = constant(whole, _LEAST_BITS)
    above = builder.sub(builder.bitcast(x, whole), least)
    n = builder.sitofp(builder.ashr(above, constant(whole, 23)), kind)
    mantissa = builder.bitcast(builder.add(builder.and_(above, constant(whole, 2**23 - 1)), least), kind)
    m = builder.fsub(mantissa, constant(kind, 1.0))
    of_n = builder.fmul(n, constant(kind, float(np.float32(_LN2))), flags=CONTRACT)
    return added_product(builder, of_n, m, polynomial(builder, _LOG, m))
