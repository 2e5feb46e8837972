"""Write a system's folder, so that a molecule can be loaded by path like the built-in ones."""

import os
import shutil
import uuid
from pathlib import Path

import numpy as np
import openmm
import yaml
from openmm import app, unit

from .system_files import LENGTH_UNITS, read_metadata, read_molecule
from .units import require_temperature

__all__ = ["save_system"]

_FILES = ("topology.pdb", "system.xml", "system.yaml")


def save_system(
    directory,
    system,
    topology,
    positions,
    temperature,
    *,
    description="",
    length_unit="nanometer",
    force_field="",
    origin="",
    rebuild="",
    overwrite=False,
):
    """Write ``topology.pdb``, ``system.xml`` and ``system.yaml``, which :func:`load_system` reads.

    The System comes back exactly, positions to 0.0001 nm as PDB has them. The folder appears complete or not at all;
    when it is overwritten, other files in it stay.

    Arguments:
        directory: the folder, created here with its parents.
        system: openmm System.
        topology: openmm.app Topology; atoms of one residue have different names.
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
        ValueError: atom counts differ, positions are not finite, or the topology does not survive the PDB format.

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
        "name": directory.name,
        "description": description,
        "temperature": f"{float(kelvin)!r} kelvin".replace(".0 ", " "),
        "length_unit": length_unit,
        "force_field": force_field,
        "origin": origin,
        "rebuild": rebuild,
    }
    for key, value in entries.items():
        if not isinstance(value, str):
            raise TypeError(f"{key} is {value!r}; give text")
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


def _validated(system, topology, positions):
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
    for residue in topology.residues():
        names = [atom.name for atom in residue.atoms()]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"residue {residue.name} {residue.id} has several atoms called {min(repeated)!r}, which a PDB file "
                f"would merge; give the atoms of one residue different names"
            )
    return positions


def _write(directory, system, topology, positions, entries):
    with (directory / "topology.pdb").open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(topology, unit.Quantity(positions, unit.nanometer), file, keepIds=True)
    (directory / "system.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=120)
    (directory / "system.yaml").write_text(text, encoding="utf-8")


def _check(directory, system, topology, positions):
    """Read the written files back and compare."""
    read_metadata(directory)
    written, atoms, rounded = read_molecule(directory)
    if openmm.XmlSerializer.serialize(written) != openmm.XmlSerializer.serialize(system):
        raise ValueError("the System does not survive openmm's own XML format; report it to OpenMM with the System")
    # Half of the last digit, and a little for binary rounding; openmm cuts off numbers too long for their column.
    if (change := np.abs(rounded.value_in_unit(unit.nanometer) - positions).max(initial=0)) > 0.51e-4:
        raise ValueError(
            f"positions change by {change:.3g} nm in the PDB format, which has room for -99.9999 to 999.9999 nm; move "
            f"the molecule to the origin"
        )
    if [a.element for a in atoms.atoms()] != [a.element for a in topology.atoms()]:
        raise ValueError("elements of the topology do not survive the PDB format; set an element on every atom")
    bonds = [{tuple(sorted((a.index, b.index))) for a, b in t.bonds()} for t in (topology, atoms)]
    if bonds[0] != bonds[1]:
        raise ValueError(
            f"the topology has {len(bonds[0])} bonds and {len(bonds[1])} after the PDB format, which knows standard "
            f"residues by their names; rename residues and atoms to the standard, or, if not standard, to other names"
        )
