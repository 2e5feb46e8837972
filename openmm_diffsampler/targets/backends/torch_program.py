"""Programs printed as torch code: the part that depends on parameters alone runs once, the rest for every batch."""

import math
from collections import Counter

import torch

from ..terms.tabulated import SplineTable

__all__ = ["TorchProgram", "fixed_values"]

_INFIX = {"add": "{} + {}", "mul": "{} * {}", "pow": "({}) ** ({})"}
_CALLS = {
    "sqrt": "torch.sqrt",
    "exp": "torch.exp",
    "log": "torch.log",
    "sin": "torch.sin",
    "cos": "torch.cos",
    "tan": "torch.tan",
    "asin": "torch.asin",
    "acos": "torch.acos",
    "atan": "torch.atan",
    "atan2": "torch.atan2",
    "sinh": "torch.sinh",
    "cosh": "torch.cosh",
    "tanh": "torch.tanh",
    "erf": "torch.erf",
    "erfc": "torch.erfc",
    "abs": "torch.abs",
    "sign": "torch.sign",
    "floor": "torch.floor",
    "ceil": "torch.ceil",
    "recip": "torch.reciprocal",
    "min": "torch.minimum",
    "max": "torch.maximum",
    "select": "_select",
    "step": "_step",
    "delta": "_delta",
}


def _select(condition, a, b):
    return torch.where(condition != 0, a, b)


def _step(x):
    return (x >= 0).to(x.dtype)


def _delta(x):
    return (x == 0).to(x.dtype)


class _Lookup:
    def __init__(self, table, dtype, device):
        self.data = torch.as_tensor(table.values, dtype=dtype, device=device)
        self.shape, self.strides = table.shape, table.strides

    def __call__(self, *indices):
        position = 0
        for index, size, stride in zip(indices, self.shape, self.strides, strict=True):
            position = position + (index + 0.5).floor().long().clamp(0, size - 1) * stride  # halves go up, as in OpenMM
        return self.data[position]


class _Spline:
    def __init__(self, table, dtype, device):
        self.minimum, self.maximum, self.periodic = table.minimum, table.maximum, table.periodic
        coefficients = torch.as_tensor(table.coefficients, device=device)
        self.n = len(coefficients)
        self.width = (table.maximum - table.minimum) / self.n
        self.derivatives = []
        for _ in range(4):
            self.derivatives.append(coefficients.to(dtype))
            powers = torch.arange(1, coefficients.shape[1], device=device)
            coefficients = coefficients[:, 1:] * powers

    def __call__(self, x, order):
        if self.periodic:
            x = self.minimum + torch.remainder(x - self.minimum, self.maximum - self.minimum)
        interval = ((x.detach() - self.minimum) / self.width).long().clamp(0, self.n - 1)
        t = x - (self.minimum + interval.to(x.dtype) * self.width)
        coefficients = self.derivatives[order][interval]
        value = coefficients[..., -1]
        for k in range(coefficients.shape[-1] - 2, -1, -1):
            value = value * t + coefficients[..., k]
        if self.periodic:
            return value
        return torch.where((x >= self.minimum) & (x <= self.maximum), value, 0.0)


def _print(program, numbers, outputs, fuse):
    """Python function (columns, given, tables) → outputs that runs the instructions `numbers`.

    `given` holds values by number. With `fuse`, constants inside arithmetic become Python numbers and a product that is
    used once, in a sum, becomes part of that sum: fewer passes over memory. A value is forgotten after its last use, so
    that large systems keep few temporaries.
    """
    code = program.instructions
    fused = _fused_products(program, numbers, outputs) if fuse else {}
    inside = {m for products in fused.values() for m in products}
    operands = {n: _operands(code, n, fused) for n in numbers if n not in inside}
    last_use = {a: n for n, args in operands.items() for a in args}
    lines = []

    def name(n, arithmetic=False):
        if n in operands:
            return f"v{n}"
        return repr(code[n].data) if fuse and arithmetic and code[n].op == "const" else f"given[{n}]"

    for n, args in operands.items():
        op, data = code[n].op, code[n].data
        names = ", ".join(name(a) for a in args)
        if op in ("variable", "parameter"):
            text = f"columns[{data!r}]"
        elif op == "const":
            text = f"torch.tensor({data!r}, dtype=torch.float64)"
        elif n in fused:
            text = _fused_sum(code, args, name)
        elif op in _INFIX:
            text = _INFIX[op].format(*(name(a, True) for a in args))
        elif op == "lookup":
            text = f"tables[{data}]({names})"
        elif op == "spline":
            text = f"tables[{data[0]}]({names}, {data[1]})"
        else:
            text = f"{_CALLS[op]}({names})"
        lines.append(f"v{n} = {text}")
        dead = [f"v{a}" for a in sorted(set(args)) if a in operands and last_use[a] == n and a not in outputs]
        if dead:
            lines.append(f"del {', '.join(dead)}")
    lines.append(f"return [{', '.join(name(n) for n in outputs)}]")
    source = "def run(columns, given, tables):\n" + "".join(f"    {line}\n" for line in lines)
    scope = {"torch": torch, "inf": math.inf, "nan": math.nan, "_select": _select, "_step": _step, "_delta": _delta}
    exec(source, scope)
    return scope["run"]


def _fused_products(program, numbers, outputs):
    """Sum → the product, or the product of a constant and a product, that it takes in."""
    code, here = program.instructions, set(numbers)
    uses = Counter(a for n in numbers for a in code[n].args) + Counter(outputs)

    def absorbable(n):
        return n in here and code[n].op == "mul" and uses[n] == 1

    fused = {}
    for n in numbers:
        if code[n].op == "add":
            chain = []
            inner = next((a for a in reversed(code[n].args) if absorbable(a)), None)
            while inner is not None:
                chain.append(inner)
                first, second = code[inner].args
                inner = second if len(chain) == 1 and code[first].op == "const" and absorbable(second) else None
            if chain:
                fused[n] = chain
    return fused


def _operands(code, n, fused):
    """What value n is computed from; for a fused sum: the other summand, then the factors, a constant before them."""
    if n not in fused:
        return code[n].args
    product, *inner = fused[n]
    first, second = code[n].args
    other = first if second == product else second
    left, right = code[product].args
    return (other, left, *code[inner[0]].args) if inner else (other, left, right)


def _fused_sum(code, args, name):
    other, *factors = args
    if code[factors[0]].op != "const":
        return f"torch.addcmul({name(other)}, {name(factors[0])}, {name(factors[1])})"
    constant, *factors = factors[0], *factors[1:]
    number = repr(code[constant].data)
    if len(factors) == 2:
        return f"torch.addcmul({name(other)}, {name(factors[0])}, {name(factors[1])}, value={number})"
    return f"torch.add({name(other)}, {name(factors[0])}, alpha={number})"


def _bind_tables(tables, dtype, device):
    return [(_Spline if isinstance(t, SplineTable) else _Lookup)(t, dtype, device) for t in tables]


def fixed_values(program, parameters, tables):
    """Number of a value → what parameters and constants alone make of it, where varying values or outputs need it.

    Float64 tensors, (n_terms, 1) or without dimensions.
    """
    instructions, varying = program.instructions, program.varying
    needed = {a for n in range(len(instructions)) if varying[n] for a in instructions[n].args} | set(program.outputs)
    needed = sorted(n for n in needed if not varying[n])
    columns = {k: torch.as_tensor(v, dtype=torch.float64).reshape(-1, 1) for k, v in parameters.items()}
    prepare = _print(program, [n for n in range(len(instructions)) if not varying[n]], needed, False)
    return dict(zip(needed, prepare(columns, {}, _bind_tables(tables, torch.float64, "cpu")), strict=True))


class TorchProgram:
    """A :class:`~..terms.program.Program` bound to its parameters.

    Arguments:
        program: what to run.
        parameters: name → (n_terms,) float64 array.
        tables: tabulated functions, as in :class:`~..terms.table.TermTable`.
        dtype, device: of the evaluation; what depends on parameters alone is computed in float64 first.
    """

    def __init__(self, program, parameters, tables, *, dtype, device):
        self.outputs, self.dtype, self.device = program.outputs, dtype, device
        changing = [n for n, varies in enumerate(program.varying) if varies]
        self.fixed = {n: v.to(device, dtype) for n, v in fixed_values(program, parameters, tables).items()}
        self.tables = _bind_tables(tables, dtype, device)
        self.run = _print(program, changing, program.outputs, True)

    def __call__(self, rows=None, **variables):
        """Outputs for one (n_terms, batch) tensor a variable, or for the slice `rows` of the terms.

        Outputs that depend on parameters alone come back as (n_terms, 1) or without dimensions.
        """
        fixed = self.fixed
        if rows is not None:
            fixed = {n: v[rows] if v.ndim == 2 else v for n, v in fixed.items()}
        return self.run(variables, fixed, self.tables)
