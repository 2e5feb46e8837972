"""The molecule that a sampler was trained on, saved beside it in ``system/`` for those who have the sampler alone."""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from openmm import OpenMMException, app, unit

from openmm_diffsampler._common.names import require_name
from openmm_diffsampler._common.quoting import shortened
from openmm_diffsampler._common.sealed_files import DamagedFileError, file_hash
from openmm_diffsampler._common.topologies import openmm_topology, topology_entries
from openmm_diffsampler._common.whole_files import write_whole
from openmm_diffsampler.targets import DENSITIES, ManyWell, OpenMMTarget, Target, list_systems, load_system, save_system
from openmm_diffsampler.targets.system import AnalyticSystem, MolecularSystem
from openmm_diffsampler.targets.system_checks import generic_positions
from openmm_diffsampler.targets.system_hash import parameter_hash
from openmm_diffsampler.targets.system_metadata import sealed_yaml

__all__ = ["SYSTEM_FILE", "UnsavedSystemWarning", "recorded_target", "save_target", "warn_if_unsaved"]

SYSTEM, _METADATA = "system", "system.yaml"
#: The file that has checksums of those beside it.
SYSTEM_FILE = f"{SYSTEM}/{_METADATA}"
_EVERYTHING = {"topology": True, "positions": True}
_UNSAVABLE = (ValueError, TypeError, KeyError, AttributeError, OpenMMException)
#: Positions that differ less, in nm, are the same in a file.
_ROUNDING = 1e-4
#: In nm, what a PDB file has room for.
_FARTHEST = 99.0


class UnsavedSystemWarning(UserWarning):
    """A sampler is saved without what it samples, which has to be given when it is loaded."""


def save_target(target: Target, folder: Path) -> dict[str, bool] | None:
    """Save the System of a target into ``system/`` in `folder`, unless it is a built-in one in every respect.

    Of densities in closed form those are saved that a ``system.yaml`` can name.

    Arguments:
        target: a Cartesian target.
        folder: of the sampler.

    Returns:
        Whether "topology" and "positions" are those of the target or mere fillers. None: nothing was saved.

    Warns:
        UnsavedSystemWarning: it cannot be saved.
    """
    if not isinstance(target, OpenMMTarget):
        return _save_density(target, folder / SYSTEM)
    if _is_built_in(target):
        return None
    has = {"topology": target.topology is not None, "positions": target.positions is not None}
    try:
        topology = openmm_topology(topology_entries(target.topology)) if has["topology"] else _plain_topology(target)
        positions = target.positions.numpy() if has["positions"] else generic_positions(target.system)
        if target.translation_invariant and np.abs(positions).max() > _FARTHEST:
            positions = positions - positions.mean(0)
        positions = positions * unit.nanometer
        save_system(folder / SYSTEM, target.system, topology, positions, target.temperature, overwrite=True)
    except _UNSAVABLE as error:
        warnings.warn(_advice(target, error), UnsavedSystemWarning, stacklevel=4)
        return None
    return has


def _save_density(target: Target, folder: Path) -> dict[str, bool] | None:
    if isinstance(target, ManyWell):
        entries = {"density": "mw32", "parameters": {"n_pairs": target.n_pairs}}
    elif target.preset_key in DENSITIES:
        entries = {"density": target.preset_key}
    else:
        return None
    if target.name in list_systems() and load_system(target.name).target().identity() == target.identity():
        return None
    folder.mkdir(exist_ok=True)
    write_whole(folder / _METADATA, sealed_yaml({"name": target.name, **entries}, {}))
    return dict(_EVERYTHING)


def warn_if_unsaved(target: Target) -> None:
    """Warn before a training of what :func:`save_target` will not be able to save after it."""
    with tempfile.TemporaryDirectory() as folder:
        save_target(target, Path(folder))


def recorded_target(folder: Path, saved: dict[str, Any], trust: bool) -> Target:
    """The molecule that was saved with a sampler, or the system of the recorded name.

    Arguments:
        folder: of the sampler.
        saved: its description.
        trust: run Python code that ``system/`` holds.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: ``system/`` is damaged or that of another sampler, or the recorded name is none.
    """
    name, own = require_name(saved["target"]["name"], f"{folder}: the name of the target"), folder / SYSTEM
    known = saved.get("system")
    if known is None and ("system" in saved or not own.exists()):
        return _named_target(folder, name, trust)
    if not own.is_dir():
        raise FileNotFoundError(
            f"there is no folder {own}; restore it, or give the target: load_sampler(folder, target)"
        )
    whole = (saved.get("files") or {}).get(SYSTEM_FILE)
    if whole is not None and file_hash(own / _METADATA) != whole:
        raise DamagedFileError(f"{own} is not the system that was saved with this sampler; restore the folder")
    system = load_system(own, trust=trust)
    try:
        return _target(system, name, known or _EVERYTHING)
    except (*_UNSAVABLE, IndexError) as error:
        reason = f"{type(error).__name__}: {shortened(error)}"
        raise ValueError(f"{own} holds a system that cannot be sampled ({reason}); restore it") from error


def _target(system: AnalyticSystem | MolecularSystem, name: str, has: Mapping[str, bool]) -> Target:
    if not isinstance(system, MolecularSystem):
        return dataclasses.replace(system, name=name).target()
    return OpenMMTarget(
        system.system,
        system.temperature,
        topology=system.topology if has["topology"] else None,
        positions=system.positions if has["positions"] else None,
        name=name,
    )


def _named_target(folder: Path, name: str, trust: bool) -> Target:
    if name in list_systems():
        return load_system(name).target()
    here = Path.cwd() / name
    if not (here / _METADATA).is_file():
        raise FileNotFoundError(
            f"{folder} holds a sampler of {name!r}, which is not built in, and was saved without it; give the target: "
            "load_sampler(folder, target)"
        )
    return dataclasses.replace(load_system(here, trust=trust), name=name).target()


def _is_built_in(target: OpenMMTarget) -> bool:
    """Whether loading the built-in system of that name gives the same target: System, temperature, atoms, positions."""
    if target.name not in list_systems() or target.topology is None or target.positions is None:
        return False
    system = load_system(target.name)
    if not isinstance(system, MolecularSystem) or system.temperature != target.temperature:
        return False
    positions = system.positions.value_in_unit(unit.nanometer)
    return (
        parameter_hash(system.system) == parameter_hash(target.system)
        and topology_entries(system.mdtraj_topology) == topology_entries(target.topology)
        and np.abs(positions - target.positions.numpy()).max() < _ROUNDING
    )


def _plain_topology(target: OpenMMTarget) -> app.Topology:
    """One residue of all particles, called by their elements, which their masses tell."""
    topology = app.Topology()
    residue = topology.addResidue("UNK", topology.addChain())
    for i in range(target.system.getNumParticles()):
        element = app.Element.getByMass(target.system.getParticleMass(i))
        topology.addAtom(f"{'X' if element is None else element.symbol}{i + 1}", element, residue)
    return topology


def _advice(target: Target, error: Exception) -> str:
    return (
        f"{target.name} cannot be saved with its sampler ({shortened(error)}): keep it, and give it when the sampler "
        "is loaded, load_sampler(folder, target)"
    )
