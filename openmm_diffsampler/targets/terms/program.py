"""Straight-line programs: sympy expressions flattened into instructions that any executor can print or run.

A program has two stages. Everything that depends on parameters alone (per-term constants such as √(ε₁ε₂)) is computed
once; the rest runs for every configuration. Equal subexpressions are computed once, integer powers by multiplication.
"""

import math
from dataclasses import dataclass, field

import sympy

from openmm_diffsampler._common.quoting import shortened

from . import expressions, tabulated

__all__ = ["Instruction", "Program", "compile_program"]

_UNARY = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.tan: "tan",
    sympy.asin: "asin",
    sympy.acos: "acos",
    sympy.atan: "atan",
    sympy.sinh: "sinh",
    sympy.cosh: "cosh",
    sympy.tanh: "tanh",
    sympy.erf: "erf",
    sympy.erfc: "erfc",
    sympy.Abs: "abs",
    sympy.sign: "sign",
    expressions.absolute: "abs",
    expressions.step: "step",
    expressions.delta: "delta",
    expressions.floor: "floor",
    expressions.ceil: "ceil",
}
_NARY = {
    sympy.atan2: "atan2",
    expressions.minimum: "min",
    expressions.maximum: "max",
    expressions.select: "select",
}


@dataclass(frozen=True)
class Instruction:
    """One value: `op` applied to the values numbered `args`; `data` is a number, a name, or a table's index.

    Ops: ``const`` (data: number), ``variable`` and ``parameter`` (data: name), ``add mul pow atan2 min max select``,
    ``recip sqrt exp log sin cos tan asin acos atan sinh cosh tanh erf erfc abs sign step delta floor ceil``,
    ``lookup`` (data: table), ``spline`` (data: (table, order of derivative)).
    """

    op: str
    args: tuple = ()
    data: object = None


@dataclass
class Program:
    """Instructions in order of execution; `outputs` are their numbers; `varying[i]` is False where value i is fixed
    by parameters and constants alone."""

    instructions: list = field(default_factory=list)
    varying: list = field(default_factory=list)
    outputs: tuple = ()

    @property
    def parameters(self):
        """Names of the parameters that the program reads."""
        return [i.data for i in self.instructions if i.op == "parameter"]


class _Builder:
    def __init__(self, variables, parameters):
        self.program = Program()
        self.numbers = {}
        self.seen = {}
        self.kinds = {expressions.symbol(n): ("variable", n) for n in variables}
        self.kinds.update({expressions.symbol(n): ("parameter", n) for n in parameters})

    def emit(self, op, args=(), data=None):
        instruction = Instruction(op, tuple(args), data)
        if instruction not in self.numbers:
            self.numbers[instruction] = len(self.program.instructions)
            self.program.instructions.append(instruction)
            self.program.varying.append(op == "variable" or any(self.program.varying[a] for a in args))
        return self.numbers[instruction]

    def constant(self, value):
        try:
            number = complex(value)
        except OverflowError:
            number = complex(math.inf)
        if number.imag or not math.isfinite(number.real):
            raise expressions.ExpressionError(
                f"the global parameters make a part of the expression {shortened(value)}, which is no finite real "
                "number"
            )
        return self.emit("const", data=number.real)

    def visit(self, node):
        if node not in self.seen:
            self.seen[node] = self.build(node)
        return self.seen[node]

    def build(self, node):
        if node.is_number and not node.has(sympy.Function):  # step(0.5) and such are left to the executor
            return self.constant(node)
        if node.is_Symbol:
            kind, name = self.kinds[node]
            return self.emit(kind, data=name)
        if node.is_Add:
            return self.fold("add", [self.visit(a) for a in node.args])
        if node.is_Mul:
            return self.fold("mul", [self.visit(a) for a in node.args])
        if node.is_Pow:
            return self.power(*node.args)
        if node.func in _UNARY:
            return self.emit(_UNARY[node.func], [self.visit(node.args[0])])
        if node.func in _NARY:
            return self.emit(_NARY[node.func], [self.visit(a) for a in node.args])
        if node.func is tabulated.lookup:
            table, *indices = node.args
            return self.emit("lookup", [self.visit(i) for i in indices], int(table))
        if node.func is tabulated.spline:
            table, order, x = node.args
            return self.constant(0) if order > 3 else self.emit("spline", [self.visit(x)], (int(table), int(order)))
        raise expressions.ExpressionError(f"no executor knows how to evaluate {node.func.__name__}")

    def fold(self, op, args):
        """Combine fixed operands first, so that they move out of the part that runs for every configuration."""
        fixed = [a for a in args if not self.program.varying[a]]
        varying = sorted(a for a in args if self.program.varying[a])
        for group in (fixed, varying):
            while len(group) > 1:
                group[:2] = [self.emit(op, group[:2])]
        return self.emit(op, fixed + varying) if fixed and varying else (fixed + varying)[0]

    def power(self, base, exponent):
        number = self.visit(base)
        if (exponent.is_Rational or exponent.is_Float) and float(2 * exponent).is_integer():
            halves = int(2 * exponent)
            if halves < 0:
                number, halves = self.emit("recip", [number]), -halves
            if halves % 2:
                return self.integer_power(self.emit("sqrt", [number]), halves)
            return self.integer_power(number, halves // 2)
        return self.emit("pow", [number, self.visit(exponent)])

    def integer_power(self, number, n):
        if n == 1:
            return number
        if n % 2:
            return self.emit("mul", sorted([self.integer_power(number, n - 1), number]))
        # The square first: of a distance, executors know it without a root.
        return self.integer_power(self.emit("mul", [number, number]), n // 2)


def compile_program(outputs, variables, parameters):
    """Flatten sympy expressions into one :class:`Program`.

    Arguments:
        outputs: sympy expressions.
        variables: names that change from configuration to configuration.
        parameters: names that are fixed for each term.

    Example:
        >>> from openmm_diffsampler.targets.terms.expressions import parse_expression
        >>> program = compile_program([parse_expression("k*r^2", ["k", "r"])], ["r"], ["k"])
        >>> [i.op for i in program.instructions]
        ['parameter', 'variable', 'mul', 'mul']
    """
    builder = _Builder(variables, parameters)
    builder.program.outputs = tuple(builder.visit(sympy.sympify(e, strict=True)) for e in outputs)
    return builder.program
