"""Temperatures with units at the boundary, thermal energies in kJ/mol inside."""

from openmm import unit

__all__ = ["require_temperature", "thermal_energy"]


def require_temperature(temperature, where="temperature"):
    """Return `temperature` if it is a positive openmm Quantity of temperature, and raise if it is not.

    Arguments:
        temperature: an openmm Quantity, such as ``300 * openmm.unit.kelvin``.
        where: what the error message calls the offending value.

    Raises:
        TypeError: the value has no unit, or the unit is not one of temperature.
        ValueError: the value is not positive and finite.

    Example:
        >>> from openmm import unit
        >>> require_temperature(300 * unit.kelvin)
        300 K
    """
    if not unit.is_quantity(temperature):
        raise TypeError(f"{where} is {temperature!r}, without a unit; write for example 300 * openmm.unit.kelvin")
    if not temperature.unit.is_compatible(unit.kelvin):
        raise TypeError(f"{where} is {temperature}, which is not a temperature; give it in kelvin")
    kelvin = temperature.value_in_unit(unit.kelvin)
    if not 0 < kelvin < float("inf"):
        raise ValueError(f"{where} is {temperature}; it must be positive and finite")
    return temperature


def thermal_energy(temperature):
    """kT as a number in kJ/mol (that is RT, with R = 8.314462618e-3 kJ/mol/K).

    Arguments:
        temperature: an openmm Quantity of temperature.

    Example:
        >>> from openmm import unit
        >>> round(thermal_energy(300 * unit.kelvin), 5)
        2.49434
    """
    temperature = require_temperature(temperature)
    return (unit.MOLAR_GAS_CONSTANT_R * temperature).value_in_unit(unit.kilojoule_per_mole)
