"""Samplers that learn: generators of independent, weighted samples, trained from energies and scores alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from openmm_diffsampler._common.quoting import shown

from .base import MissedModeWarning, Sampler
from .boltzmann import BoltzmannGenerator
from .boltzmann_settings import BoltzmannSettings
from .dikl import DiKL
from .dikl_settings import DiKLSettings
from .edg import EDG
from .edg_settings import EDGSettings
from .idem import IDEM
from .idem_settings import IDEMSettings
from .sampler_files import description
from .saved_systems import UnsavedSystemWarning
from .training import TrainingDivergedError

if TYPE_CHECKING:
    from openmm_diffsampler.targets import Target

__all__ = [
    "EDG",
    "IDEM",
    "METHODS",
    "BoltzmannGenerator",
    "BoltzmannSettings",
    "DiKL",
    "DiKLSettings",
    "EDGSettings",
    "IDEMSettings",
    "MissedModeWarning",
    "Sampler",
    "TrainingDivergedError",
    "UnsavedSystemWarning",
    "load_pretrained",
    "load_sampler",
    "recommended_method",
]

#: Methods by name, the recommended ones first.
METHODS = {sampler.method: sampler for sampler in (BoltzmannGenerator, IDEM, DiKL, EDG)}


def load_pretrained(name, method="auto"):
    """A sampler that comes with a built-in system: the recommended one, or that of a method.

    Raises:
        FileNotFoundError: no such system, or none comes with it.
        ValueError: an unknown method.

    Example:
        >>> load_pretrained("gmm40").method
        'idem'
    """
    if method != "auto":
        return _method(method, f"method is {method!r}").pretrained(name)
    missing = None
    for sampler in METHODS.values():
        try:
            return sampler.pretrained(name)
        except FileNotFoundError as error:
            missing = missing or error
    raise missing


def recommended_method(target):
    """The name of the method that suits `target`: "boltzmann", or "idem" for particles that are all alike."""
    has_bonds = target.topology is not None and target.topology.n_bonds
    is_density = target.topology is None and not target.translation_invariant
    return "boltzmann" if has_bonds or is_density else "idem"


def load_sampler(folder: str | os.PathLike[str], target: Target | None = None, *, trust: bool = False) -> Sampler:
    """The sampler that was saved in `folder`, whatever its method; arguments and errors as of :meth:`Sampler.load`."""
    method = description(folder)["method"]
    return _method(method, f"{folder} holds a sampler of unknown method {shown(method)}").load(
        folder, target, trust=trust
    )


def _method(name, problem):
    if name not in METHODS:
        raise ValueError(f"{problem}; known are {', '.join(METHODS)}")
    return METHODS[name]
