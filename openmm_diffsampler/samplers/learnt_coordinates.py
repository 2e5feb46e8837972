"""In which coordinates samplers learn a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from openmm_diffsampler.coordinates import InternalTarget, StandardColumns
from openmm_diffsampler.coordinates.whitened_target import WhitenedTarget
from openmm_diffsampler.targets import Target

from .loaded_states import checked_tensor, require_internal_state

__all__ = ["coordinates_state", "in_coordinates", "in_whitened_coordinates", "load_coordinates", "standard_columns"]


def in_coordinates(target):
    """A molecule with bonds over its internal coordinates, with its double bonds held; any other target as it is.

    Raises:
        TypeError: atoms of different elements without bonds.
        ValueError: a molecule without positions.
        NoInternalCoordinatesError: an energy that depends on where the molecule is.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> in_coordinates(load_system("alanine-dipeptide").target()).event_shape
        (60,)
    """
    topology = target.topology
    if topology is not None and topology.n_bonds:
        if target.positions is None:
            raise ValueError(f"{target.name} has no positions; pass positions= to OpenMMTarget")
        target = InternalTarget(target, target.positions)
    elif topology is not None and len({atom.element for atom in topology.atoms}) > 1:
        raise TypeError(f"{target.name} has no bonds and different elements; give a topology with its bonds")
    if isinstance(target, InternalTarget) and not target.held:
        target.hold_isomers()
    return target


def in_whitened_coordinates(target):
    """As :func:`in_coordinates`, the internal coordinates of a molecule ready to be whitened."""
    target = in_coordinates(target)
    return WhitenedTarget(target) if isinstance(target, InternalTarget) else target


def coordinates_state(target):
    """What is learnt of whitened coordinates, under the name "coordinates"; nothing of any other target."""
    return {"coordinates": target.state_dict()} if isinstance(target, WhitenedTarget) else {}


def load_coordinates(target: Target, state: Mapping[str, Any]) -> None:
    """Put back what :func:`coordinates_state` gave, from the state that it is a part of.

    Raises:
        ValueError: it is not that of such a target.
    """
    if not isinstance(target, WhitenedTarget) or not state.get("coordinates"):
        return
    coordinates, n = state["coordinates"], target.n_degrees_of_freedom
    require_internal_state(coordinates, target.internal.cartesian.event_shape[0], n)
    checked_tensor(coordinates, "origin", (n,))
    if not torch.linalg.slogdet(checked_tensor(coordinates, "scale", (n, n)).double()).logabsdet.isfinite():
        raise ValueError("its scale of coordinates is singular")
    target.load_state_dict(coordinates)


def standard_columns(target, x):
    """The :class:`~openmm_diffsampler.coordinates.StandardColumns` of a target, from configurations in equilibrium."""
    if isinstance(target, InternalTarget):
        return StandardColumns.of_molecule(target, x)
    return StandardColumns.of_particles(x) if target.translation_invariant else StandardColumns.of_density(x)
