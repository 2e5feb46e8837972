"""OpenMM's tabulated functions as data (tables, spline coefficients) and as sympy functions of their arguments."""

from dataclasses import dataclass

import numpy as np
import openmm
import sympy

from .expressions import ExpressionError

__all__ = ["LookupTable", "SplineTable", "lookup", "read_tabulated_functions", "spline"]


class lookup(sympy.Function):
    """lookup(k, i, …): entry of the discrete table k at the nearest whole indices; flat everywhere."""

    def _eval_derivative(self, s):
        return sympy.S.Zero


class spline(sympy.Function):
    """spline(k, order, x): derivative of that order of the cubic spline k at x; zero outside its range."""

    nargs = 3

    def _eval_derivative(self, s):
        table, order, x = self.args
        return spline(table, order + 1, x) * x.diff(s)


@dataclass(frozen=True)
class LookupTable:
    """Values of a Discrete1D/2D/3DFunction: `values` of shape `shape` flattened with the first index fastest."""

    values: np.ndarray
    shape: tuple

    @property
    def strides(self):
        return tuple(int(s) for s in np.cumprod((1, *self.shape[:-1])))


@dataclass(frozen=True)
class SplineTable:
    """A Continuous1DFunction: cubics `coefficients` (n_intervals, 4), lowest power first, on [minimum, maximum]."""

    coefficients: np.ndarray
    minimum: float
    maximum: float
    periodic: bool


def _spline_table(function):
    from scipy.interpolate import CubicSpline

    values, minimum, maximum = function.getFunctionParameters()
    periodic = function.getPeriodic()
    nodes = np.linspace(minimum, maximum, len(values))
    curve = CubicSpline(nodes, values, bc_type="periodic" if periodic else "natural")
    return SplineTable(np.ascontiguousarray(curve.c[::-1].T), minimum, maximum, periodic)


def read_tabulated_functions(force, tables):
    """Read every tabulated function of `force`, append its data to `tables`, and return a parser's function table.

    Raises:
        ExpressionError: a Continuous2D or Continuous3D function, which have no closed form here.
    """
    functions = {}
    for k in range(force.getNumTabulatedFunctions()):
        name, function = force.getTabulatedFunctionName(k), force.getTabulatedFunction(k)
        index = sympy.Integer(len(tables))
        if isinstance(function, openmm.Continuous1DFunction):
            tables.append(_spline_table(function))
            functions[name] = (1, lambda x, index=index: spline(index, 0, x))
        elif isinstance(function, (openmm.Discrete1DFunction, openmm.Discrete2DFunction, openmm.Discrete3DFunction)):
            parameters = function.getFunctionParameters()
            one = isinstance(function, openmm.Discrete1DFunction)  # whose parameters are the values themselves
            *shape, values = [len(parameters), parameters] if one else parameters
            tables.append(LookupTable(np.asarray(values, dtype=float), tuple(shape)))
            functions[name] = (len(shape), lambda *indices, index=index: lookup(index, *indices))
        else:
            raise ExpressionError(
                f"tabulated function {name!r} is a {type(function).__name__}; supported are Continuous1DFunction and "
                "Discrete1D/2D/3DFunction"
            )
    return functions
