"""Positions as users give them, with units or without, as plain numbers in nm."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from openmm import unit

from openmm_diffsampler._common.quoting import shortened, shown

__all__ = ["lengths_in_nm", "positions_array"]

#: What other libraries call the unit of a quantity; arrays of numpy and torch have none of these.
_MARKS = ("units", "unit", "magnitude", "m_as")
#: Objects that hold positions but are none: top-level package → what to give instead.
_HOLDERS = {
    "mdtraj": "trajectory.xyz[0], which is in nm",
    "MDAnalysis": "atoms.positions / 10 (they are in Å)",
    "ase": "atoms.get_positions() * openmm.unit.angstrom",
    "rdkit": "conformer.GetPositions() * openmm.unit.angstrom",
    "parmed": "structure.positions",
    "openff": "molecule.conformers[0].to_openmm()",
}


def lengths_in_nm(values: Any, where: str = "positions") -> np.ndarray | torch.Tensor:
    """Numbers in nm: of an openmm Quantity of length, or of plain numbers, which are taken for nm.

    Arguments:
        values: Quantity, array, tensor, or nested lists of numbers or of openmm Quantities.
        where: what the error message calls them.

    Returns:
        A float array, or the tensor that was given.

    Raises:
        TypeError: a quantity of another library, an openmm Quantity that is no length, or no real numbers at all.
        ValueError: lists of unequal length, or an array with masked entries.

    Example:
        >>> lengths_in_nm([[0.0, 0.0, 15.0]] * unit.angstrom)
        array([[0. , 0. , 1.5]])
    """
    if isinstance(values, torch.Tensor):
        if values.is_complex() or values.dtype == torch.bool:
            raise TypeError(f"{where} are a tensor of {values.dtype}; give real numbers in nm")
        return values
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.getmaskarray(values).any():
            raise ValueError(f"{where} have masked entries; give a configuration of all atoms")
        values = values.filled()
    plain = _without_units(values, where)
    is_text = isinstance(plain, str | bytes)
    if is_text or not (isinstance(plain, Sequence | Real) or hasattr(plain, "__array__")):
        raise TypeError(_no_numbers(values, where))
    try:
        array = np.asarray(plain)
    except ValueError as error:
        raise ValueError(f"{where} are lists of unequal length; give (n_atoms, 3) numbers") from error
    if array.dtype.kind not in "fiuO" or (array.dtype.kind == "O" and not all(isinstance(v, Real) for v in array.flat)):
        raise TypeError(_no_numbers(values, where))
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def positions_array(positions: Any, n_atoms: int) -> np.ndarray:
    """Positions of a System, as :func:`lengths_in_nm` takes them, as a float64 array (n_atoms, 3).

    Raises:
        TypeError: no lengths, see there.
        ValueError: another shape, coordinates that are NaN or infinite.
    """
    numbers = lengths_in_nm(positions)
    if isinstance(numbers, torch.Tensor):
        numbers = numbers.detach().cpu().numpy()
    array = np.array(numbers, dtype=np.float64)
    if array.shape != (n_atoms, 3):
        raise ValueError(
            f"positions have shape {array.shape} and the System {n_atoms} particles; give one configuration, "
            f"({n_atoms}, 3)"
        )
    if not np.isfinite(array).all():
        raise ValueError("positions hold NaN or infinite coordinates")
    return array


def _without_units(values: Any, where: str) -> Any:
    """The same numbers, openmm Quantities among them in nm; lists are gone through."""
    if unit.is_quantity(values):
        if not values.unit.is_compatible(unit.nanometer):
            raise TypeError(f"{where} are in {values.unit}, which is no length; give them in openmm.unit.nanometer")
        return _without_units(values.value_in_unit(unit.nanometer), where)
    if any(hasattr(values, mark) for mark in _MARKS):
        raise TypeError(_foreign_quantity(values, where))
    if isinstance(values, list | tuple) and not all(type(v) in (float, int) for v in values):
        return [_without_units(value, where) for value in values]
    if isinstance(values, np.ndarray) and values.dtype == object and values.ndim:
        return [_without_units(value, where) for value in values]
    return values


def _foreign_quantity(values: Any, where: str) -> str:
    kind = type(values)
    libraries = {base.__module__.split(".")[0] for base in kind.__mro__}
    units = next((getattr(values, mark) for mark in ("units", "unit") if hasattr(values, mark)), "units unknown")
    if libraries & {"astropy", "unyt"}:
        call = '.to_value("nm")'
    else:
        call = '.m_as("nanometer")' if hasattr(values, "m_as") else "'s numbers in nm"
    return (
        f"{where} are a {kind.__module__}.{kind.__qualname__} in {shortened(units)}, a quantity of another library, "
        f"whose unit would be lost; write {where}{call} * openmm.unit.nanometer"
    )


def _no_numbers(values: Any, where: str) -> str:
    found = "None" if values is None else f"a {type(values).__name__}, {shown(values)}"
    holder = _HOLDERS.get(type(values).__module__.split(".")[0])
    instead = f"{holder}" if holder else "an openmm Quantity, or an array or lists of real numbers in nm"
    return f"{where} are {found}; give {instead}"
