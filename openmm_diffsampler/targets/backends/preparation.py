"""How long OpenMM takes to prepare a System and to evaluate it, and how to go easy on one that takes long."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass

import openmm

__all__ = ["Preparation", "announce_long_preparation"]

_log = logging.getLogger(__name__)

#: Seconds from which on a context, or an evaluation, is slow.
_SLOW_CONTEXT, _SLOW_EVALUATION = 2.0, 0.5
#: Seconds that may go into the contexts of a pool by default.
_POOL = 30.0
#: Characters of an expression with angles between computed points from which on its derivatives take seconds.
_LONG = 250


def announce_long_preparation(name: str, system: openmm.System) -> bool:
    """Log that a System will take long, before it does: AMOEBA's bends in a plane, or expressions like them.

    OpenMM differentiates them for each context anew, with Python's lock held.

    Arguments:
        name: of the target.
        system: openmm System.

    Returns:
        Whether it will.
    """
    compounds = (force for force in system.getForces() if isinstance(force, openmm.CustomCompoundBondForce))
    expressions = [force.getEnergyFunction() for force in compounds if force.getNumBonds()]
    is_long = any(len(text) >= _LONG and "pointangle" in text for text in expressions)
    if is_long:
        _log.warning("%s: OpenMM differentiates long expressions of its forces, up to a minute a context ...", name)
    return is_long


@dataclass(frozen=True)
class Preparation:
    """What was measured on the Reference platform.

    Attributes:
        context: seconds that a context took.
        evaluation: seconds of one energy with forces.
        is_long: what :func:`announce_long_preparation` returned.
    """

    context: float
    evaluation: float
    is_long: bool = False

    def known_rates(self) -> dict[str, float]:
        """Evaluations per second by platform, of platforms that need no trial.

        Where evaluations are slow, that of the Reference platform is known well enough. Where expressions are
        long, so is that of the CPU platform, which runs the same code for those forces, at the price of a context.

        Example:
            >>> Preparation(0.01, 0.001).known_rates(), Preparation(0.1, 2.0).known_rates()
            ({}, {'Reference': 0.5})
            >>> Preparation(20.0, 0.01, is_long=True).known_rates()
            {'Reference': 100.0, 'CPU': 0.0}
        """
        if self.is_long and self.context >= _SLOW_CONTEXT:
            return {"Reference": 1 / self.evaluation, "CPU": 0.0}
        return {"Reference": 1 / self.evaluation} if self.evaluation >= _SLOW_EVALUATION else {}

    def n_repeats(self, least: float) -> int:
        """How often a trial repeats its batch: eight times, or `least` where evaluations are slow.

        Example:
            >>> Preparation(0.1, 0.001).n_repeats(0.5), Preparation(0.1, 2.0).n_repeats(0.5)
            (8, 1)
        """
        return 8 if self.evaluation < _SLOW_EVALUATION else math.ceil(least)

    def n_contexts(self) -> int:
        """Contexts of a pool on the CPU: one a core, or as many as are made within half a minute.

        Example:
            >>> Preparation(20.0, 0.01).n_contexts()
            1
        """
        cores = os.cpu_count() or 1
        return cores if self.context < _SLOW_CONTEXT else max(1, min(cores, int(_POOL / self.context)))
