"""Programs printed as vector code, with the parameters that they read for each term."""

import numpy as np

from ...terms.tabulated import SplineTable
from ..torch_program import fixed_values
from .functions import FUNCTIONS

__all__ = ["Data", "VectorProgram"]


class Data:
    """Numbers that the code reads: real ones and whole ones, each kind one after the other."""

    def __init__(self):
        self.reals, self.wholes, self.n_reals, self.n_wholes = [], [], 0, 0

    def add_reals(self, values):
        """Keep an array; return where it starts."""
        values = np.ascontiguousarray(values, dtype=np.float64).ravel()
        self.reals.append(values)
        self.n_reals += len(values)
        return self.n_reals - len(values)

    def add_wholes(self, values):
        values = np.ascontiguousarray(values, dtype=np.int64).ravel()
        self.wholes.append(values)
        self.n_wholes += len(values)
        return self.n_wholes - len(values)

    def arrays(self, dtype):
        """All real numbers in the precision of the code, and all whole ones; at least one of each."""
        reals, wholes = np.concatenate([*self.reals, [0.0]]), np.concatenate([*self.wholes, [0]])
        return reals.astype(dtype), wholes.astype(np.int64)


class VectorProgram:
    """A :class:`~...terms.program.Program` bound to the parameters of its terms.

    Arguments:
        program, parameters, tables: as for :class:`~..torch_program.TorchProgram`.
        data: :class:`Data` that takes what the code reads.
    """

    def __init__(self, program, parameters, tables, data):
        self.program, self.tables, self.data = program, tables, data
        fixed = fixed_values(program, parameters, tables)
        # The same for all terms: a number in the code. Otherwise: a column of a table with one row a term.
        self.numbers, columns = {}, []
        for n, values in fixed.items():
            values = values.numpy().ravel()
            if values.size == 1 or (values.size and (values == values[0]).all()):
                self.numbers[n] = float(values[0])
            else:
                columns.append((n, values))
        self.columns = {n: k for k, (n, _) in enumerate(columns)}
        self.width = len(columns)
        self.start = data.add_reals(np.stack([c for _, c in columns], 1)) if columns else 0
        used = {i.data if i.op == "lookup" else i.data[0] for i in program.instructions if i.op in ("lookup", "spline")}
        self.placed = {k: self._place(tables[k]) for k in sorted(used)}

    def _place(self, table):
        """Where the numbers of a table start; of a spline and its derivatives, four coefficients an interval each."""
        if not isinstance(table, SplineTable):
            return self.data.add_reals(table.values)
        c = table.coefficients
        starts = []
        for _ in range(4):
            starts.append(self.data.add_reals(np.pad(c, ((0, 0), (0, 4 - c.shape[1])))))
            c = c[:, 1:] * np.arange(1, c.shape[1])
        return starts

    def emit(self, v, reals, term, squares=None, **variables):
        """Outputs, as vectors, for the term with the index `term` (an integer value).

        `squares` are those of some variables, where they are known: a root that only even powers need is then left out.
        """
        values = {}
        code, varying = self.program.instructions, self.program.varying

        def fixed(n):
            if n in self.numbers:
                return v.const(self.numbers[n])
            place = v.index(v.times(term, self.width), self.start + self.columns[n])
            return v.splat(v.scalar(reals, place))

        def value(n):
            if n not in values:  # what does not vary is read where it is first needed
                values[n] = fixed(n)
            return values[n]

        for n, instruction in enumerate(code):
            if varying[n]:
                values[n] = self._square(v, instruction, squares or {})
            if varying[n] and values[n] is None:
                arguments = [value(a) for a in instruction.args]
                values[n] = self._apply(v, reals, instruction, arguments, variables)
        return [value(n) for n in self.program.outputs]

    def _square(self, v, instruction, squares):
        """x·x or (1/x)·(1/x) for a variable whose square is known; None for anything else."""
        if instruction.op != "mul" or instruction.args[0] != instruction.args[1]:
            return None
        factor = self.program.instructions[instruction.args[0]]
        inner = self.program.instructions[factor.args[0]] if factor.op == "recip" else factor
        if inner.op != "variable" or inner.data not in squares:
            return None
        square = squares[inner.data]
        return v.div(v.const(1.0), square) if factor.op == "recip" else square

    def _apply(self, v, reals, instruction, arguments, variables):
        op, about = instruction.op, instruction.data
        if op == "variable":
            return variables[about]
        if op == "lookup":
            return self._lookup(v, reals, about, arguments)
        if op == "spline":
            return self._spline(v, reals, *about, *arguments)
        return FUNCTIONS[op](v, *arguments)

    def _lookup(self, v, reals, number, indices):
        table, place = self.tables[number], v.const(0.0)
        for index, size, stride in zip(indices, table.shape, table.strides, strict=True):
            nearest = v.intrinsic("floor", v.add(index, v.const(0.5)))  # halves go up, as in OpenMM
            place = v.add(place, v.mul(v.clamped(nearest, v.const(size - 1)), v.const(stride)))
        return v.gather(reals, self.placed[number], place)

    def _spline(self, v, reals, number, order, x):
        table, start = self.tables[number], self.placed[number][order]
        n = len(table.coefficients)
        low, span = v.const(table.minimum), v.const(table.maximum - table.minimum)
        if table.periodic:
            turns = v.intrinsic("floor", v.div(v.sub(x, low), span))
            x = v.sub(x, v.mul(turns, span))
        width = v.const((table.maximum - table.minimum) / n)
        interval = v.clamped(v.intrinsic("floor", v.div(v.sub(x, low), width)), v.const(n - 1))
        t = v.sub(x, v.add(low, v.mul(interval, width)))
        place, result = v.mul(interval, v.const(4.0)), None
        for k in reversed(range(4 - order)):
            c = v.gather(reals, start + k, place)
            result = c if result is None else v.add(v.mul(result, t), c)
        if table.periodic:
            return result
        inside = v.builder.and_(v.compare(">=", x, low), v.compare("<=", x, v.const(table.maximum)))
        return v.select(inside, result, v.const(0.0))
