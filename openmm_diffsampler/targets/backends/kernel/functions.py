"""Elementary functions on vectors, without branches, to a few units in the last place.

The argument is reduced with constants of extra precision, and a polynomial does the rest; functions that molecules need
rarely (pow, erf, erfc) call the C library lane by lane. The polynomials of exp are its series; those of log, sin, cos
and atan have the minimax coefficients of fdlibm (Sun Microsystems, 1993).
"""

import math

from llvmlite import ir

__all__ = ["FUNCTIONS"]

#: ln 2 in two parts, as exact as the precision allows.
_LN2 = {64: (6.93147180369123816490e-01, 1.90821492927058770002e-10), 32: (0.6931471824645996, -1.9046542121259336e-09)}
_LOG = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
_SIN = (
    -1.66666666666666324348e-01,
    8.33333333332248946124e-03,
    -1.98412698298579493134e-04,
    2.75573137070700676789e-06,
    -2.50507602534068634195e-08,
    1.58969099521155010221e-10,
)
_COS = (
    4.16666666666666019037e-02,
    -1.38888888888741095749e-03,
    2.48015872894767294178e-05,
    -2.75573143513906633035e-07,
    2.08757232129817482790e-09,
    -1.13596475577881948265e-11,
)
_ATAN = (
    3.33333333333329318027e-01,
    -1.99999999998764832476e-01,
    1.42857142725034663711e-01,
    -1.11111104054623557880e-01,
    9.09088713343650656196e-02,
    -7.69187620504482999495e-02,
    6.66107313738753120669e-02,
    -5.83357013379057348645e-02,
    4.97687799461593236017e-02,
    -3.65315727442169155270e-02,
    1.62858201153657823623e-02,
)
#: π/2 in three parts, the sum of which is good for whole numbers of quarter turns of any size.
_HALF_PI = {
    64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
    32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
}
#: Adding and taking away 1.5·2^(digits of the significand) rounds to a whole number, which the last bits then hold.
_MAGIC = {64: 1.5 * 2.0**52, 32: 1.5 * 2.0**23}
_MANTISSA = {64: 52, 32: 23}
_BIAS = {64: 1023, 32: 127}
_SMALLEST = {64: 2.2250738585072014e-308, 32: 1.1754943508222875e-38}
_ROOT_HALF = {64: 0x3FE6A09E667F3BCD, 32: 0x3F3504F3}
#: Largest argument of sin and cos whose quarter turns are counted exactly.
_REACH = {64: 1e9, 32: 1e5}
#: Number of polynomial coefficients that the precision asks for: exp, log, sin and cos, atan.
_TERMS = {64: (14, 7, 6, 11), 32: (8, 5, 4, 9)}


def _polynomial(v, x, coefficients):
    """c₀ + c₁x + c₂x² + …, by Horner's rule."""
    result = v.const(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = v.fma(result, x, v.const(c))
    return result


def _round(v, x):
    """x rounded to a whole number, and the sum whose last bits are that number."""
    shifted = v.builder.fadd(x, v.const(_MAGIC[v.bits]))
    return v.builder.fsub(shifted, v.const(_MAGIC[v.bits])), v.as_whole(shifted)


def exp(v, x):
    n, bits = _round(v, v.builder.fmul(x, v.const(1 / math.log(2))))
    r = x
    for part in _LN2[v.bits]:
        r = v.fma(n, v.const(-part), r)
    series = _polynomial(v, r, [1 / math.factorial(k) for k in range(_TERMS[v.bits][0])])
    # Half of the power at a time: 2ⁿ itself overflows just below the largest number.
    half = v.builder.ashr(v.builder.shl(bits, v.whole_const(v.bits - 16)), v.whole_const(v.bits - 16 + 1))
    rest = v.builder.sub(
        v.builder.ashr(v.builder.shl(bits, v.whole_const(v.bits - 16)), v.whole_const(v.bits - 16)), half
    )
    value = v.builder.fmul(v.builder.fmul(series, _power_of_two(v, half)), _power_of_two(v, rest))
    low, high = (-708.396, 709.78271) if v.bits == 64 else (-87.336, 88.72283)
    value = v.select(v.compare(">", x, v.const(high)), v.const(math.inf), value)
    return v.select(v.compare("<", x, v.const(low)), v.const(0.0), value)


def _power_of_two(v, n):
    return v.as_real(v.builder.shl(v.builder.add(n, v.whole_const(_BIAS[v.bits])), v.whole_const(_MANTISSA[v.bits])))


def log(v, x):
    b, mantissa = v.builder, _MANTISSA[v.bits]
    tiny = v.compare("<", x, v.const(_SMALLEST[v.bits]))
    scaled = v.select(tiny, b.fmul(x, v.const(2.0 ** (mantissa + 2))), x)
    # The significand between √½ and √2, f = it − 1, and the exponent that goes with it.
    above = b.sub(v.as_whole(scaled), v.whole_const(_ROOT_HALF[v.bits]))
    exponent = b.ashr(above, v.whole_const(mantissa))
    significand = v.as_real(b.sub(v.as_whole(scaled), b.shl(exponent, v.whole_const(mantissa))))
    magic = v.const(_MAGIC[v.bits])
    k = b.fsub(v.as_real(b.add(exponent, v.as_whole(magic))), magic)
    k = v.select(tiny, b.fsub(k, v.const(mantissa + 2)), k)
    f = b.fsub(significand, v.const(1.0))
    s = v.div(f, b.fadd(f, v.const(2.0)))
    z = v.mul(s, s)
    series = v.mul(z, _polynomial(v, z, _LOG[: _TERMS[v.bits][1]]))
    half_square = b.fmul(v.const(0.5), b.fmul(f, f))
    high, low = _LN2[v.bits]
    correction = v.fma(s, b.fadd(half_square, series), b.fmul(k, v.const(low)))
    value = v.fma(k, v.const(high), b.fsub(f, b.fsub(half_square, correction)))
    value = v.select(v.compare("==", x, v.const(math.inf)), x, value)
    value = v.select(v.compare("==", x, v.const(0.0)), v.const(-math.inf), value)
    invalid = v.builder.fcmp_unordered("<", x, v.const(0.0))  # NaN too
    return v.select(invalid, v.const(math.nan), value)


def _trigonometric(name, *which):
    """A function of sin x and cos x; lanes beyond the reach of the reduction are left to the C library."""

    def function(v, x):
        fast = [sin_cos(v, x)[k] for k in which]
        result = v.variable()
        v.store(fast[0] if len(fast) == 1 else v.div(*fast), result)
        too_large = v.compare(">", v.intrinsic("fabs", x), v.const(_REACH[v.bits]))
        any_lane = v.builder.icmp_unsigned(
            "!=", v.builder.bitcast(too_large, ir.IntType(v.width)), ir.Constant(ir.IntType(v.width), 0)
        )
        with v.builder.if_then(any_lane, likely=False):
            v.store(v.select(too_large, _library(name, 1)(v, x), v.load(result)), result)
        return v.load(result)

    return function


def sin_cos(v, x):
    """sin x and cos x for |x| up to _REACH."""
    b = v.builder
    n, bits = _round(v, b.fmul(x, v.const(2 / math.pi)))
    r = x
    for part in _HALF_PI[v.bits]:
        r = v.fma(n, v.const(-part), r)
    z = v.mul(r, r)
    terms = _TERMS[v.bits][2]
    sine = v.fma(v.mul(z, r), _polynomial(v, z, _SIN[:terms]), r)
    cosine = v.fma(v.mul(z, z), _polynomial(v, z, _COS[:terms]), v.fma(z, v.const(-0.5), v.const(1.0)))
    swapped = b.icmp_signed("!=", b.and_(bits, v.whole_const(1)), v.whole_const(0))
    top = v.bits - 2

    def signed(value, quarter):
        """`value`, negated where bit 1 of the number of quarter turns is set."""
        flip = b.shl(b.and_(quarter, v.whole_const(2)), v.whole_const(top))
        return v.as_real(b.xor(v.as_whole(value), flip))

    sines, cosines = v.select(swapped, cosine, sine), v.select(swapped, sine, cosine)
    return signed(sines, bits), signed(cosines, b.add(bits, v.whole_const(1)))


def atan2(v, y, x):
    b = v.builder
    ax, ay = v.intrinsic("fabs", x), v.intrinsic("fabs", y)
    steep = v.compare(">", ay, ax)
    small, large = v.select(steep, ax, ay), v.select(steep, ay, ax)
    # atan q for q = small/large above tan π/8 is π/4 + atan (q − 1)/(q + 1).
    upper = v.compare(">", small, v.mul(large, v.const(math.tan(math.pi / 8))))
    numerator = v.select(upper, b.fsub(small, large), small)
    denominator = v.select(upper, b.fadd(small, large), large)
    t = v.div(numerator, denominator)
    z = v.mul(t, t)
    series = v.mul(t, v.mul(z, _polynomial(v, z, _ATAN[: _TERMS[v.bits][3]])))
    base = v.select(upper, v.const(math.pi / 4), v.const(0.0))
    rest = v.select(upper, v.const(3.061616997868383e-17), v.const(0.0))  # π/4 beyond its double
    angle = b.fadd(base, b.fsub(t, b.fsub(series, rest)))
    quarter, quarter_rest = v.const(math.pi / 2), v.const(6.123233995736766e-17)
    angle = v.select(steep, b.fsub(quarter, b.fsub(angle, quarter_rest)), angle)
    left = b.icmp_signed("<", v.as_whole(x), v.whole_const(0))  # by its sign bit, for −0
    angle = v.select(left, b.fsub(v.const(math.pi), b.fsub(angle, v.const(1.2246467991473532e-16))), angle)
    both_zero = v.compare("==", large, v.const(0.0))
    angle = v.select(both_zero, v.select(left, v.const(math.pi), v.const(0.0)), angle)
    return v.intrinsic("copysign", angle, y)


def _arc(v, x):
    """√(1 − x²), the leg beside x."""
    return v.intrinsic("sqrt", v.mul(v.sub(v.const(1.0), x), v.add(v.const(1.0), x)))


def tanh(v, x):
    size = v.intrinsic("fabs", x)
    e = expm1(v, v.mul(v.const(2.0), size))
    value = v.select(v.compare(">", size, v.const(22.0)), v.const(1.0), v.div(e, v.add(e, v.const(2.0))))
    return v.intrinsic("copysign", value, x)


def expm1(v, x):
    """eˣ − 1 without cancellation for small x: the series up to ½, the difference beyond."""
    series = v.mul(x, _polynomial(v, x, [1 / math.factorial(k + 1) for k in range(16 if v.bits == 64 else 9)]))
    return v.select(v.compare("<", v.intrinsic("fabs", x), v.const(0.5)), series, v.sub(exp(v, x), v.const(1.0)))


def sinh(v, x):
    size = v.intrinsic("fabs", x)
    e = expm1(v, size)
    small = v.mul(v.const(0.5), v.add(e, v.div(e, v.add(e, v.const(1.0)))))
    half = exp(v, v.mul(v.const(0.5), size))
    large = v.mul(v.mul(v.const(0.5), half), half)
    return v.intrinsic("copysign", v.select(v.compare("<", size, v.const(22.0)), small, large), x)


def cosh(v, x):
    half = exp(v, v.mul(v.const(0.5), v.intrinsic("fabs", x)))
    return v.add(v.mul(v.mul(v.const(0.5), half), half), v.div(v.const(0.5), v.mul(half, half)))


def _library(name, n_arguments):
    """A function of the C library, called for each lane in double precision."""

    def function(v, *arguments):
        double = ir.DoubleType()
        callee = v.external(name, ir.FunctionType(double, [double] * n_arguments))

        def lane(*scalars):
            if v.bits == 64:
                return v.builder.call(callee, scalars)
            return v.builder.fptrunc(v.builder.call(callee, [v.builder.fpext(s, double) for s in scalars]), v.real)

        return v.lanes(lane, *arguments)

    return function


def _sign(v, x):
    positive, negative = v.compare(">", x, v.const(0.0)), v.compare("<", x, v.const(0.0))
    return v.select(positive, v.const(1.0), v.select(negative, v.const(-1.0), x))


def _where(how):
    return lambda v, x: v.select(v.compare(how, x, v.const(0.0)), v.const(1.0), v.const(0.0))


def _of_llvm(name):
    return lambda v, *arguments: v.intrinsic(name, *arguments)


#: Op of an :class:`~...terms.program.Instruction` → function of (vectors, operands…).
FUNCTIONS = {
    "add": lambda v, a, b: v.add(a, b),
    "mul": lambda v, a, b: v.mul(a, b),
    "recip": lambda v, x: v.div(v.const(1.0), x),
    "sqrt": _of_llvm("sqrt"),
    "abs": _of_llvm("fabs"),
    "floor": _of_llvm("floor"),
    "ceil": _of_llvm("ceil"),
    "min": _of_llvm("minimum"),
    "max": _of_llvm("maximum"),
    "exp": exp,
    "log": log,
    "sin": _trigonometric("sin", 0),
    "cos": _trigonometric("cos", 1),
    "tan": _trigonometric("tan", 0, 1),
    "atan2": atan2,
    "atan": lambda v, x: atan2(v, x, v.const(1.0)),
    "asin": lambda v, x: atan2(v, x, _arc(v, x)),
    "acos": lambda v, x: atan2(v, _arc(v, x), x),
    "sinh": sinh,
    "cosh": cosh,
    "tanh": tanh,
    "pow": _library("pow", 2),
    "erf": _library("erf", 1),
    "erfc": _library("erfc", 1),
    "sign": _sign,
    "step": _where(">="),
    "delta": _where("=="),
    "select": lambda v, c, a, b: v.select(v.compare("!=", c, v.const(0.0)), a, b),
}
