"""From an OpenMM System to a table of terms, or to the list of reasons why there is none."""

from openmm_diffsampler._common.quoting import shortened

from .custom import CUSTOM_TRANSLATORS
from .expressions import ExpressionError
from .standard import STANDARD_TRANSLATORS
from .table import TermTable

__all__ = ["SUPPORTED_FORCES", "UnsupportedForceError", "translate_system", "unsupported_reasons"]

_TRANSLATORS = {**STANDARD_TRANSLATORS, **CUSTOM_TRANSLATORS}

#: Names of the OpenMM forces that become terms.
SUPPORTED_FORCES = tuple(_TRANSLATORS)

#: Forces that change dynamics and not the energy.
_WITHOUT_ENERGY = ("CMMotionRemover", "AndersenThermostat")


class UnsupportedForceError(ValueError):
    """A System holds a force, or a setting of one, that has no closed form in this package."""


def unsupported_reasons(system):
    """Why `system` cannot become a table of terms, one sentence a reason; empty when it can (expressions unread)."""
    reasons = []
    for force in system.getForces():
        name = type(force).__name__
        if name in _WITHOUT_ENERGY:
            continue
        if name not in _TRANSLATORS:
            reasons.append(f"{name} has no closed form here")
            continue
        check = _TRANSLATORS[name][0]
        problem = check(force) if check else None
        if problem is None and force.usesPeriodicBoundaryConditions():
            problem = f"{name} uses periodic boundary conditions"
        if problem:
            reasons.append(problem)
    return list(dict.fromkeys(reasons))


def translate_system(system):
    """Translate every force of an OpenMM System into a :class:`~.table.TermTable`.

    Global parameters are taken at their default values.

    Raises:
        UnsupportedForceError: naming each force that cannot be translated, and why.

    Example:
        >>> import openmm
        >>> system = openmm.System(); _ = system.addParticle(1.0); _ = system.addParticle(1.0)
        >>> bonds = openmm.HarmonicBondForce(); _ = bonds.addBond(0, 1, 0.1, 1000.0); _ = system.addForce(bonds)
        >>> [term.source for term in translate_system(system).terms]
        ['HarmonicBondForce']
    """
    reasons = unsupported_reasons(system)
    if reasons:
        raise UnsupportedForceError("; ".join(reasons))
    table = TermTable(system.getNumParticles())
    for force in system.getForces():
        name = type(force).__name__
        if name in _WITHOUT_ENERGY:
            continue
        try:
            terms = _TRANSLATORS[name][1](force, table)
        except ExpressionError as error:
            raise UnsupportedForceError(f"{name}: {error}") from error
        except RecursionError:
            raise UnsupportedForceError(f"{name}: an expression is nested too deeply to be differentiated") from None
        except (ValueError, OverflowError, MemoryError) as error:  # of sympy, about numbers beyond all bounds
            raise UnsupportedForceError(f"{name}: an expression cannot be calculated ({shortened(error)})") from error
        table.terms.extend(term for term in terms if not hasattr(term, "atoms") or len(term.atoms))
    return table
