"""Write a system's folder, so that a molecule can be loaded by path like the built-in ones."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from openmm_diffsampler._common.names import as_name
from openmm_diffsampler._common.quoting import shown
from openmm_diffsampler._common.sealed_files import sealed_json
from openmm_diffsampler._common.topologies import topology_entries

from .system_files import read_molecule
from .system_metadata import LENGTH_UNITS, read_metadata, sealed_yaml
from .units import require_temperature

__all__ = ["save_system"]

#: In the order in which they take the place of older ones: the checksums last, so that a mixture is told.
_FILES = ("topology.pdb", "topology.json", "system.xml", "system.yaml")
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def save_system(
    directory: str | os.PathLike[str],
    system: openmm.System,
    topology: app.Topology,
    positions: unit.Quantity,
    temperature: unit.Quantity,
    *,
    description: str = "",
    length_unit: str = "nanometer",
    force_field: str = "",
    origin: str = "",
    rebuild: str = "",
    overwrite: bool = False,
) -> Path:
    """Write ``topology.pdb``, ``topology.json``, ``system.xml`` and ``system.yaml``, which :func:`load_system` reads.

    The System and the topology come back exactly, positions to 0.0001 nm as PDB has them. ``topology.json`` has every
    name and bond; what a PDB file has no room for is written into ``topology.pdb`` under shorter names.
    ``system.yaml`` has checksums of all of it. The folder appears complete or not at all; when it is overwritten, other
    files in it stay.

    Arguments:
        directory: the folder, created here with its parents.
        system: openmm System.
        topology: openmm.app Topology.
        positions: Quantity of length, (n_atoms, 3); a starting configuration.
        temperature: Quantity.
        description: one line for lists.
        length_unit: "nanometer", or "reduced" for a system in reduced units (1 length = 1 nm, 1 energy = 1 kJ/mol).
        force_field, origin, rebuild: what the forces are, where they are from, the command that rebuilds the folder.
        overwrite: replace the three files of an existing folder.

    Returns:
        The folder as a Path.

    Raises:
        FileExistsError: the folder has files and `overwrite` is not set.
        TypeError: an argument of the wrong type, or positions or temperature without a unit or with a wrong one.
        ValueError: atom counts differ, positions are not finite or too far from the origin for a PDB file, or the
            System holds what OpenMM cannot write.

    Example:
        >>> import tempfile
        >>> from openmm_diffsampler.targets.system import load_system
        >>> lj13 = load_system("lj13")
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     folder = save_system(
        ...         f"{parent}/warm", lj13.system, lj13.topology, lj13.positions, 200 * openmm.unit.kelvin
        ...     )
        ...     load_system(folder).temperature
        200.0 K
    """
    directory = Path(directory).expanduser().absolute()
    if directory.exists() and not directory.is_dir():
        raise FileExistsError(f"{directory} is a file; choose another name for the folder")
    if directory.exists() and any(directory.iterdir()) and not overwrite:
        raise FileExistsError(f"{directory} exists; choose another folder, or set overwrite=True to replace the system")
    positions = _validated(system, topology, positions)
    kelvin = require_temperature(temperature).value_in_unit(unit.kelvin)
    entries = {
        "name": as_name(directory.name),
        "description": description,
        "temperature": f"{float(kelvin)!r} kelvin".replace(".0 ", " "),
        "length_unit": length_unit,
        "force_field": force_field,
        "origin": origin,
        "rebuild": rebuild,
    }
    for key, value in entries.items():
        if not isinstance(value, str):
            raise TypeError(f"{key} is {shown(value)}; give text")
    if length_unit not in LENGTH_UNITS:
        raise ValueError(f"length_unit is {length_unit!r}; supported are {' and '.join(LENGTH_UNITS)}")

    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = directory.parent / f".{directory.name}-{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        _write(temporary, system, topology, positions, entries)
        _check(temporary, system, topology, positions)
        if directory.exists():
            for name in _FILES:
                os.replace(temporary / name, directory / name)
        else:
            os.rename(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _validated(system: openmm.System, topology: app.Topology, positions: unit.Quantity) -> np.ndarray:
    """Positions as an (n_atoms, 3) array in nm, after checking what belongs together."""
    if not isinstance(system, openmm.System):
        raise TypeError(f"system is a {type(system).__name__}; give an openmm.System")
    if not isinstance(topology, app.Topology):
        raise TypeError(
            f"topology is a {type(topology).__name__}; give an openmm.app.Topology (mdtraj has to_openmm())"
        )
    if not unit.is_quantity(positions):
        raise TypeError("positions have no unit; write for example positions * openmm.unit.nanometer")
    if not positions.unit.is_compatible(unit.nanometer):
        raise TypeError(f"positions are in {positions.unit}, which is not a length; give them in nanometer")
    positions = np.asarray(positions.value_in_unit(unit.nanometer), dtype=np.float64)
    n = system.getNumParticles()
    if topology.getNumAtoms() != n:
        raise ValueError(
            f"the system has {n} particles and the topology {topology.getNumAtoms()} atoms; they must agree"
        )
    if positions.shape != (n, 3):
        raise ValueError(f"positions have shape {positions.shape}; the system has {n} particles, so give ({n}, 3)")
    if not np.isfinite(positions).all():
        raise ValueError("positions contain NaN or infinite values; give a valid starting configuration")
    return positions


def _write(
    directory: Path, system: openmm.System, topology: app.Topology, positions: np.ndarray, entries: dict[str, str]
) -> None:
    with (directory / "topology.pdb").open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(_fitting_pdb(topology), unit.Quantity(positions, unit.nanometer), file, keepIds=True)
    texts = {
        "topology.pdb": (directory / "topology.pdb").read_text(encoding="utf-8"),
        "topology.json": sealed_json(topology_entries(topology), indent=None),
        "system.xml": openmm.XmlSerializer.serialize(system),
    }
    texts["system.yaml"] = sealed_yaml(entries, texts)
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8", newline="\n")


def _fitting_pdb(topology: app.Topology) -> app.Topology:
    """The topology as it is, or a copy with shorter names if it has more than the columns of a PDB file can tell."""
    if not any(_has_clashes(residue) for residue in topology.residues()) and _has_cell_or_none(topology):
        return topology
    fitting, copies = app.Topology(), {}
    for chain in topology.chains():
        copy = fitting.addChain(chain.id)
        for residue in chain.residues():
            inside = fitting.addResidue(residue.name[:3], copy, residue.id, residue.insertionCode)
            names = _short_names() if _has_clashes(residue) else (atom.name for atom in residue.atoms())
            for atom, name in zip(residue.atoms(), names, strict=False):
                copies[atom] = fitting.addAtom(name, atom.element, inside, atom.id)
    for a, b in topology.bonds():
        fitting.addBond(copies[a], copies[b])
    return fitting


def _has_clashes(residue: app.topology.Residue) -> bool:
    """Whether a PDB file would cut or merge names."""
    names = [atom.name for atom in residue.atoms()]
    return len(residue.name) > 3 or len(set(names)) < len(names) or any(not 0 < len(name) < 5 for name in names)


def _has_cell_or_none(topology: app.Topology) -> bool:
    """Whether the unit cell has a volume, where there is one."""
    vectors = topology.getPeriodicBoxVectors()
    return vectors is None or abs(np.linalg.det(vectors.value_in_unit(unit.nanometer))) > 0


def _short_names() -> Iterator[str]:
    """Z000, Z001, …: 46,656 names of four letters and more."""
    for a in "ZYXWVUTSRQPONMLKJIHGFEDCBA":
        for b in _LETTERS:
            for c in _LETTERS:
                for d in _LETTERS:
                    yield a + b + c + d


def _check(directory: Path, system: openmm.System, topology: app.Topology, positions: np.ndarray) -> None:
    """Read the written files back and compare."""
    read_metadata(directory)
    written, atoms, rounded = read_molecule(directory, trust=True)  # it is the caller's own
    if openmm.XmlSerializer.serialize(written) != openmm.XmlSerializer.serialize(system):
        raise ValueError("the System does not survive openmm's own XML format; report it to OpenMM with the System")
    # Half of the last digit, and a little for binary rounding; openmm cuts off numbers too long for their column.
    if (change := np.abs(rounded.value_in_unit(unit.nanometer) - positions).max(initial=0)) > 0.51e-4:
        raise ValueError(
            f"positions change by {change:.3g} nm in the PDB format, which has room for -99.9999 to 999.9999 nm; move "
            f"the molecule to the origin"
        )
    if topology_entries(atoms) != topology_entries(topology):
        raise ValueError("the topology does not survive being written; report it with the topology")
