"""Whether anything holds the parts of a System together."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import openmm

from .backends.foreign_forces import foreign_forces
from .fragments import fragments

if TYPE_CHECKING:
    import mdtraj

__all__ = ["UnnormalisableDensityWarning", "free_fragment", "warn_of_free_fragments"]

#: Distances in nm that a fragment is moved by, in pairs; charges hardly feel each other at the second pair.
_STEPS = np.array([[1e2, 1e3], [1e4, 1e6]])
#: exp(−u) has no integral unless u rises by more than 3 log r, the volume there is at a distance r.
_LEAST_RISES = 3 * np.log(_STEPS[:, 1] / _STEPS[:, 0])
#: Where fragments are moved to: somewhere and back, or along every axis.
_SOMEWHERE = np.array([[0.48, -0.6, 0.64], [-0.48, 0.6, -0.64]])
_AXES = np.concatenate([np.eye(3), -np.eye(3)])


class UnnormalisableDensityWarning(UserWarning):
    """Parts of the System drift apart for ever: exp(−u) has no integral, and neither populations nor log Z exist."""


def free_fragment(
    system: openmm.System,
    parts: list[set[int]],
    positions: np.ndarray,
    u: Callable[[np.ndarray], np.ndarray],
    *,
    translation_invariant: bool = True,
    seconds: float = 5.0,
) -> set[int] | None:
    r"""Particles that nothing keeps from leaving, or None.

    ∫exp(−u) over the place of a fragment exists only if u grows by more than 3 log r with its distance r. Each
    fragment is moved away, from 10² to 10³ nm and from 10⁴ to 10⁶ nm, to see. Energies that end at a constant, such as
    those of Lennard-Jones, Coulomb and generalised Born terms, hold nothing. Where the energy depends on where the
    System is, all of it is moved too, and along every axis.

    Arguments:
        system: openmm System; in a periodic one nothing can leave.
        parts: sets of particles, as of :func:`~openmm_diffsampler.targets.fragments.fragments`.
        positions: (n_atoms, 3) in nm.
        u: reduced potentials of (n, n_atoms, 3), in double precision.
        translation_invariant: whether the energy stays when everything moves together.
        seconds: after which nothing more is moved, and the rest counts as held.
    """
    if system.usesPeriodicBoundaryConditions():
        return None
    end = time.perf_counter() + seconds

    def rises(atoms: set[int], direction: np.ndarray) -> np.ndarray:
        """How much u rises over each pair of distances; what is not finite holds."""
        moved = np.repeat(positions[None], _STEPS.size, axis=0)
        moved[:, sorted(atoms)] += _STEPS.reshape(-1, 1, 1) * direction
        near, far = np.asarray(u(moved)).reshape(_STEPS.shape).T
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(near) & np.isfinite(far), far - near, np.inf)

    def is_held(atoms: set[int], directions: np.ndarray) -> bool:
        return all((rises(atoms, direction) > _LEAST_RISES).all() for direction in directions)

    everything = set(range(len(positions)))
    if not translation_invariant and not is_held(everything, _AXES):
        return everything
    if len(parts) < 2:
        return None
    parts = sorted(parts, key=len)
    for part in parts:
        if time.perf_counter() > end:
            return None
        if not is_held(part, _SOMEWHERE if translation_invariant else _AXES):
            return part
    # Each is held by something. Two are held by each other if moving both costs less than moving one and the other.
    costs = [rises(part, _SOMEWHERE[0])[1] for part in parts]
    group = list(range(len(parts)))
    for a, b in combinations(range(len(parts)), 2) if translation_invariant else ():
        if time.perf_counter() > end:
            return None
        if group[a] != group[b]:
            saved = costs[a] + costs[b] - rises(parts[a] | parts[b], _SOMEWHERE[0])[1]
            if not saved <= 1e-6 * (costs[a] + costs[b]):
                group = [group[a] if g == group[b] else g for g in group]
    together = set().union(*(part for part, g in zip(parts, group, strict=True) if g == group[0]))
    return None if together == everything or not translation_invariant else together


def warn_of_free_fragments(
    name: str,
    system: openmm.System,
    topology: mdtraj.Topology | None,
    positions: np.ndarray,
    u: Callable[[np.ndarray], np.ndarray],
    *,
    translation_invariant: bool = True,
) -> bool:
    """Whether something holds all molecules together; `name` is that of the target, the rest as above.

    Warns:
        UnnormalisableDensityWarning: nothing does, and what to do.
    """
    bonds = [] if topology is None else [(a.index, b.index) for a, b in topology.bonds]
    if not bonds and foreign_forces(system):
        return True  # a force that nobody here can read may bind all there is
    parts = fragments(system, bonds, positions)
    free = free_fragment(system, parts, positions, u, translation_invariant=translation_invariant)
    if free is None:
        return True
    if len(free) == len(positions):
        warnings.warn(
            f"an external force acts on {name} and does not hold it in every direction: it drifts away, and neither "
            "populations nor log Z exist. Restrain it by a CustomExternalForce that grows in all three directions",
            UnnormalisableDensityWarning,
            stacklevel=3,
        )
        return False
    atoms = [str(i) if topology is None else str(topology.atom(i)) for i in sorted(free)]
    listed = ", ".join(atoms[:3]) + (", …" if len(atoms) > 3 else "")
    warnings.warn(
        f"{name} has {len(parts)} molecules, and nothing holds atoms {listed} to the others: they drift apart, so "
        "that neither populations nor log Z exist. Keep them together, for example by "
        "openmm_diffsampler.targets.with_restrained_fragments(system, 1.5 * unit.nanometer)",
        UnnormalisableDensityWarning,
        stacklevel=3,
    )
    return False
