"""Molecules that nothing holds together, whose density cannot be normalised."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import openmm

from .fragments import fragments_of

if TYPE_CHECKING:
    import mdtraj

__all__ = ["UnnormalisableDensityWarning", "what_is_free"]

#: Distances in nm that fragments are moved by, in pairs; a charge hardly feels another one at the second pair.
_STEPS = np.array([[1e2, 1e3], [1e4, 1e6]])
_RISES = 3 * np.log(_STEPS[:, 1] / _STEPS[:, 0])
#: Where they are moved to: somewhere, or along every axis.
_SOMEWHERE, _AXES = np.array([0.48, -0.6, 0.64]), np.concatenate([np.eye(3), -np.eye(3)])


class UnnormalisableDensityWarning(UserWarning):
    """Parts of the System can drift apart for ever: there is no equilibrium, and Z is infinite."""


def what_is_free(
    system: openmm.System,
    positions: np.ndarray,
    reduced_potential: Callable[[np.ndarray], np.ndarray],
    topology: mdtraj.Topology | None = None,
    *,
    translation_invariant: bool = True,
    seconds: float = 5.0,
) -> str:
    r"""In words, what of the System may drift away for ever; empty if ∫exp(−u(x))dx is finite.

    Fragments are moved away from the rest, from 10² to 10³ nm and from 10⁴ to 10⁶ nm. The integral over their distance,
    ∫r²exp(−u)dr, is finite only if u rises by more than 3 log r: not if it ends at a constant, as Lennard-Jones,
    Coulomb and generalised Born energies do. Where energies are no functions of distances alone, everything together is
    moved as well, and along every axis. Periodic systems live in their box.

    Arguments:
        system: openmm System.
        positions: (n_atoms, 3) in nm, of finite energy.
        reduced_potential: (n, n_atoms, 3) → (n,) in kT, in double precision.
        topology: mdtraj Topology of the particles; its bonds hold.
        translation_invariant: whether the energy stays when everything moves together.
        seconds: after which no more is moved, and the rest counts as held.

    Example:
        >>> system = openmm.System(); _ = [system.addParticle(40.0) for _ in range(2)]
        >>> x = np.array([[0, 0, 0], [0.4, 0, 0]])
        >>> what_is_free(system, x, lambda x: np.zeros(len(x)))
        'nothing holds its 2 fragments together (particle 0 can leave)'
    """
    if system.usesPeriodicBoundaryConditions():
        return ""
    end = time.perf_counter() + seconds

    def rise(atoms: list[int], direction: np.ndarray) -> np.ndarray:
        """How much the energy rises over each step; what is not finite holds."""
        moved = np.repeat(positions[None], _STEPS.size, 0)
        moved[:, atoms] += _STEPS.reshape(-1, 1, 1) * direction
        near, far = np.asarray(reduced_potential(moved)).reshape(_STEPS.shape).T
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(near) & np.isfinite(far), far - near, np.inf)

    def is_held(atoms: list[int], directions: np.ndarray) -> bool:
        return all((rise(atoms, direction) > _RISES).all() for direction in directions)

    if not translation_invariant and not is_held(list(range(len(positions))), _AXES):
        return "an external force acts on it, but does not hold it in every direction"
    fragments = fragments_of(system, positions, topology)
    if len(fragments) < 2:
        return ""
    directions = _SOMEWHERE[None] if translation_invariant else np.concatenate([_SOMEWHERE[None], _AXES])
    for atoms in fragments:
        if time.perf_counter() > end:
            return ""
        if not is_held(atoms, directions):
            return _in_words(fragments, atoms, topology)
    if not translation_invariant:
        return ""
    # Each is held by something. Two are held by each other if moving both costs less than moving one and the other.
    costs = [rise(atoms, _SOMEWHERE)[1] for atoms in fragments]
    group = list(range(len(fragments)))
    for a, b in combinations(range(len(fragments)), 2):
        if time.perf_counter() > end:
            return ""
        if group[a] != group[b]:
            saved = costs[a] + costs[b] - rise(fragments[a] + fragments[b], _SOMEWHERE)[1]
            if not saved <= 1e-6 * (costs[a] + costs[b]):
                group = [group[a] if g == group[b] else g for g in group]
    if len(set(group)) > 1:
        return _in_words(fragments, [i for k, g in enumerate(group) if g == group[0] for i in fragments[k]], topology)
    return ""


def _in_words(fragments: list[list[int]], atoms: list[int], topology: mdtraj.Topology | None) -> str:
    if topology is None:
        names = "particle " + str(atoms[0]) if len(atoms) == 1 else f"the {len(atoms)} particles from {min(atoms)} on"
    else:
        residues = list(dict.fromkeys(str(topology.atom(i).residue) for i in atoms))
        names = ", ".join(residues[:3]) + (", …" if len(residues) > 3 else "")
    return f"nothing holds its {len(fragments)} fragments together ({names} can leave)"
