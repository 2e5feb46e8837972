"""Forces that run code of somebody else's, which may keep state between or within its calls.

A function of a ``PythonForce``, or the model of a plugin such as openmm-ml's, is one object in all contexts of a System
and often in several Systems. One that stores its positions before it computes returns other configurations' energies
when two threads are in it. So such forces have one context, and only one is evaluated at a time in the whole process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import openmm

from .threads import RenewedLock

__all__ = ["evaluated_alone", "foreign_forces"]

_alone = RenewedLock()
_here = threading.local()


def foreign_forces(system: openmm.System) -> list[str]:
    """Names of the kinds of forces in `system`, also inside other forces, whose code is not OpenMM's own.

    Example:
        >>> system = openmm.System()
        >>> _ = system.addForce(openmm.HarmonicBondForce())
        >>> foreign_forces(system)
        []
    """
    return sorted({name for force in system.getForces() for name in _foreign(force)})


def _foreign(force: openmm.Force) -> Iterator[str]:
    kind = type(force)
    if kind.__name__ == "PythonForce" or kind is openmm.Force or not _is_openmms(kind):
        # The forces of plugins that bring no class of their own come as plain ones.
        yield "plugin's force" if kind is openmm.Force else kind.__name__
    for count, get in (("getNumCollectiveVariables", "getCollectiveVariable"), ("getNumForces", "getForce")):
        if hasattr(force, count) and hasattr(force, get):
            for i in range(getattr(force, count)()):
                yield from _foreign(getattr(force, get)(i))


def _is_openmms(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "openmm"


@contextmanager
def evaluated_alone(names: list[str]) -> Iterator[None]:
    """Keep other threads out of foreign code while the block runs; nothing for a System without any.

    Code that is evaluated in such a block, in this thread, may evaluate other Systems: it does not wait for itself.

    Arguments:
        names: what :func:`foreign_forces` found.
    """
    if not names or getattr(_here, "inside", False):
        yield
        return
    with _alone, inside():
        yield


@contextmanager
def inside() -> Iterator[None]:
    """Let this thread count as the one that was let in, which it works for."""
    before = getattr(_here, "inside", False)
    _here.inside = True
    try:
        yield
    finally:
        _here.inside = before
