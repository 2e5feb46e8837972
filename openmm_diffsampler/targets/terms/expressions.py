"""OpenMM's expression language read into sympy, so that custom forces can be differentiated and compiled.

The grammar is the one of OpenMM's custom forces: ``+ - * / ^``, function calls, and definitions after semicolons
(``"k*x^2; x=r-r0"``). Functions that sympy would rewrite into forms with other values on their kinks (``step``,
``min``, ``max``, ``abs``, ``select``, …) are kept as opaque functions with the derivatives that OpenMM gives them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NoReturn

import sympy

from openmm_diffsampler._common.quoting import shortened

from .expression_bounds import ExpressionError, require_readable, tokens

__all__ = ["ExpressionError", "parse_expression", "symbol"]


def symbol(name):
    """The sympy symbol that stands for the OpenMM variable or parameter `name`."""
    return sympy.Symbol(name, real=True)


class step(sympy.Function):
    """1 where x >= 0, else 0; flat everywhere, like OpenMM's."""

    nargs = 1

    def fdiff(self, argindex=1):
        return sympy.S.Zero


class delta(step):
    """1 where x == 0, else 0."""


class floor(step):
    """Largest whole number not above x."""


class ceil(step):
    """Smallest whole number not below x."""


class absolute(sympy.Function):
    """|x|, with the derivative of OpenMM, 2 step(x) − 1."""

    nargs = 1

    def fdiff(self, argindex=1):
        return 2 * step(self.args[0]) - 1


class select(sympy.Function):
    """select(c, a, b): a where c is not zero, else b. Derivatives select too, so the other branch cannot leak NaN."""

    nargs = 3

    @classmethod
    def eval(cls, condition, a, b):
        return a if a == b else None

    def _eval_derivative(self, s):
        condition, a, b = self.args
        return select(condition, a.diff(s), b.diff(s))


class minimum(sympy.Function):
    """min(a, b), with the derivative of b where they are equal, as OpenMM has it."""

    nargs = 2

    def _eval_derivative(self, s):
        a, b = self.args
        return select(step(a - b), b.diff(s), a.diff(s))


class maximum(sympy.Function):
    """max(a, b), with the derivative of a where they are equal."""

    nargs = 2

    def _eval_derivative(self, s):
        a, b = self.args
        return select(step(a - b), a.diff(s), b.diff(s))


_FUNCTIONS = {
    "sqrt": (1, sympy.sqrt),
    "exp": (1, sympy.exp),
    "log": (1, sympy.log),
    "sin": (1, sympy.sin),
    "cos": (1, sympy.cos),
    "tan": (1, sympy.tan),
    "sec": (1, lambda x: 1 / sympy.cos(x)),
    "csc": (1, lambda x: 1 / sympy.sin(x)),
    "cot": (1, lambda x: 1 / sympy.tan(x)),
    "asin": (1, sympy.asin),
    "acos": (1, sympy.acos),
    "atan": (1, sympy.atan),
    "atan2": (2, sympy.atan2),
    "sinh": (1, sympy.sinh),
    "cosh": (1, sympy.cosh),
    "tanh": (1, sympy.tanh),
    "erf": (1, sympy.erf),
    "erfc": (1, sympy.erfc),
    "square": (1, lambda x: x**2),
    "cube": (1, lambda x: x**3),
    "recip": (1, lambda x: 1 / x),
    "step": (1, step),
    "delta": (1, delta),
    "floor": (1, floor),
    "ceil": (1, ceil),
    "abs": (1, absolute),
    "min": (2, minimum),
    "max": (2, maximum),
    "select": (3, select),
}

#: The largest float64, and its binary digits: what constants make may not go beyond, where sympy would go on for ever.
_LARGEST, _MOST_BITS = sys.float_info.max, 1024
#: The largest power that is taken by multiplication.
_LARGEST_POWER = 1_000_000


def _is_opaque(applied: sympy.Function) -> bool:
    """Whether executors evaluate a function, not sympy."""
    return not type(applied).__module__.startswith("sympy.")


class _Parser:
    """Recursive descent over one expression; `lookup` resolves names to sympy expressions."""

    def __init__(
        self, text: str, lookup: Callable[[str], sympy.Expr], functions: Mapping[str, tuple[int, Callable]]
    ) -> None:
        self.text, self.tokens, self.position = text, [*tokens(text), ("end", "")], 0
        self.lookup, self.functions = lookup, functions

    def parse(self) -> sympy.Expr:
        result = self.sum()
        if self.peek() != "":
            self.fail(f"unexpected {shortened(repr(self.peek()))}")
        return result

    def moderate(self, result: sympy.Expr) -> sympy.Expr:
        """The result, unless it is a constant beyond a float64, of which sympy would go on to compute more."""
        if result.is_number and not any(map(_is_opaque, result.atoms(sympy.Function))):
            is_exact = result.is_Rational
            size = max(abs(result.p), result.q) if is_exact else abs(sympy.N(result))
            if size.bit_length() > _MOST_BITS if is_exact else size.is_Float and size > _LARGEST:
                self.fail("constants make a number beyond those of a computer")
        return result

    def fail(self, why: str) -> NoReturn:
        raise ExpressionError(f"{why} in expression {shortened(repr(self.text))}")

    def peek(self):
        return self.tokens[self.position][1]

    def take(self, expected=None):
        kind, value = self.tokens[self.position]
        if expected is not None and value != expected:
            self.fail(f"expected {expected!r} but found {shortened(repr(value or 'the end'))}")
        self.position += 1
        return kind, value

    def sum(self):
        result = self.product()
        while self.peek() in ("+", "-"):
            result = result + self.product() if self.take()[1] == "+" else result - self.product()
        return result

    def product(self):
        result = self.signed()
        while self.peek() in ("*", "/"):
            result = result * self.signed() if self.take()[1] == "*" else result / self.signed()
        return result

    def signed(self):
        if self.peek() == "-":
            self.take()
            return -self.signed()
        return self.power()

    def power(self):
        base = self.atom()
        if self.peek() == "^":
            self.take()
            exponent = self.signed()
            if exponent.is_Float and float(exponent).is_integer():  # sympy takes 2 and 2.0 for different numbers
                exponent = sympy.Integer(int(exponent))
            self.require_moderate_power(base, exponent)
            return self.moderate(base**exponent)
        return base

    def require_moderate_power(self, base: sympy.Expr, exponent: sympy.Expr) -> None:
        """Fail before sympy multiplies for ever."""
        if exponent.is_Rational and not base.is_Float:
            factor = base if base.is_Rational else base.as_coeff_Mul()[0]  # it is raised to the power by itself
            bits = max(abs(factor.p), factor.q).bit_length() - 1 if factor.is_Rational else 0
            if abs(exponent) > _LARGEST_POWER or bits * abs(exponent) > _MOST_BITS:
                self.fail(f"the power {shortened(exponent, 40)} is beyond what is computed")

    def atom(self):
        kind, value = self.take()
        if kind == "number":
            if value.isdigit():
                return self.moderate(sympy.Integer(value))
            if float(value) == math.inf:
                self.fail(f"{shortened(value, 40)} is no number of a computer")
            return sympy.Float(float(value))
        if kind == "name":
            return self.call(value) if self.peek() == "(" else self.lookup(value)
        if value == "(":
            result = self.sum()
            self.take(")")
            return result
        return self.fail(f"unexpected {shortened(repr(value or 'end'))}")

    def call(self, name):
        self.take("(")
        arguments = [self.sum()]
        while self.peek() == ",":
            self.take()
            arguments.append(self.sum())
        self.take(")")
        if name in self.functions:
            count, function = self.functions[name]
        elif name in _FUNCTIONS:
            count, function = _FUNCTIONS[name]
        else:
            self.fail(f"unknown function {shortened(repr(name))}")
        if len(arguments) != count:
            self.fail(f"{name} takes {count} argument(s), not {len(arguments)},")
        return self.moderate(function(*arguments))


def parse_expression(
    text: str,
    variables: Iterable[str],
    functions: Mapping[str, tuple[int, Callable]] | None = None,
    constants: Mapping[str, float] | None = None,
) -> sympy.Expr:
    """Read an OpenMM expression into a sympy expression of the given variables.

    Arguments:
        text: the expression, with definitions after semicolons. As in OpenMM, a definition sees those to its right, the
            leftmost of several with the same name, and hides a variable of that name from what stands left of it.
        variables: names that stay symbols.
        functions: tabulated functions, name → (number of arguments, callable on sympy expressions).
        constants: names that are replaced by numbers (global parameters).

    Raises:
        ExpressionError: bad syntax, an unknown name or function (a definition does not see itself), an expression that
            is absurdly long or deep, constants that make a number beyond those of a computer.

    Example:
        >>> parse_expression("0.5*k*x^2; x=r-r0", ["r", "r0"], constants={"k": 2.0})
        1.0*(r - r0)**2
    """
    require_readable(text)
    main, *definitions = text.split(";")
    bodies = []
    for definition in definitions:
        if not definition.strip():
            continue
        name, equals, body = definition.partition("=")
        if not equals:
            what = shortened(repr(definition.strip()))
            raise ExpressionError(f"definition {what} has no '=' in expression {shortened(repr(text))}")
        bodies.append((name.strip(), body))
    known = {name: symbol(name) for name in variables}
    known.update({name: sympy.Float(float(value)) for name, value in (constants or {}).items()})

    @cache
    def lookup(name, start):
        """What `name` means where the definitions from number `start` on are visible."""
        for k in range(start, len(bodies)):
            if bodies[k][0] == name:
                return read(bodies[k][1], k + 1)
        if name in known:
            return known[name]
        raise ExpressionError(
            f"unknown name {shortened(repr(name))} in expression {shortened(repr(text))}; known are "
            f"{shortened(sorted(known))} and what is defined further right"
        )

    def read(part, start):
        return _Parser(part, lambda name: lookup(name, start), functions or {}).parse()

    try:
        return read(main, 0)
    except RecursionError:
        raise ExpressionError(f"expression {shortened(repr(text))} is nested too deeply to be read") from None
